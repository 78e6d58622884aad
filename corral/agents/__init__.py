"""Who works here and on what: agents and their managers, tasks and epics, and the messages they delegate work over."""
