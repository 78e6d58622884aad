"""The `corral` command. It starts the processes, and is a client of the API like any other."""
