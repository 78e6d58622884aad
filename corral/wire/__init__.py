"""What the server and a runner both speak, and what both reckon alike. Knows msgspec and `corral.base` alone."""
