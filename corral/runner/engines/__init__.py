"""One module for each agent CLI. Each is run as a worker process, `python -m corral.runner.engines.<name>`."""
