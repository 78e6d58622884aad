"""The run: its states, queue and claim, leases, log, commands and approvals."""
