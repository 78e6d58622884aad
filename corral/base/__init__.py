"""What server and runner both need: ids, errors, paths, logs, the supervisor of loops. Imports nothing of Corral."""
