"""Whole stories with the real Claude Code and real `corral runner` processes, against the scripted model."""
