"""The console, driven in a real Chromium against real servers, runners and the real Claude Code."""
