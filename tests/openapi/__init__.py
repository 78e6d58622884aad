"""What `/api/openapi.json` promises, held by schemathesis against a real server."""
