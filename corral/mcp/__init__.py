"""The MCP servers of an org: who they are, what a run is given of them, and a client for what runs in the platform."""
