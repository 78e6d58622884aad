"""Corral runs a team of coding agents across your machines."""

__version__ = "0.1.0"
