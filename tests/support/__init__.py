"""What many tests need: real servers, runners, databases and model servers as processes, and ways to wait for them.

Nothing here imports `corral`: a test that uses it talks to the product as a stranger would.
"""
