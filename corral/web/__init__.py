"""The server's outside: HTTP in, services called, answers out. The only part that knows how HTTP is served."""
