"""Types that the server and a runner both speak. msgspec structs only; imports nothing but `corral.base`."""
