"""The runner: pulls runs by outbound HTTP, drives the real agent CLIs, and loses nothing when the server is away.

`main` starts the `daemon`, which polls and hands each assignment to a `job`; a worker process speaks to the CLI, its
events go to the `spool` on disk, and the `outbox` sends them from there. `recovery` ends what a crash left behind.
"""
