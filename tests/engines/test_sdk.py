"""The SDK as a worker imports it."""

import subprocess
import sys

LOOK = """
import sys
import corral.runner.engines.claude
assert not {"mcp", "pydantic", "jsonschema"} & sys.modules.keys(), "imported, and of no use to a worker"
import jsonschema
jsonschema.validate(1, {"type": "integer"})
"""


def test_a_worker_starts_without_what_it_never_uses_and_whoever_needs_that_later_gets_it() -> None:
    subprocess.run([sys.executable, "-P", "-c", LOOK], check=True, timeout=60)
