"""What every part of the server stands on: settings, database, orgs, users, keys, access, limits."""
