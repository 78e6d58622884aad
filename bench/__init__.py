"""Benchmarks of Corral, each beside its own raw baseline of the same run: see `docs/benchmarks.md`."""
