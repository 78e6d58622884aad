"""The API references, held literally: nothing here imports `corral`, it talks HTTP to a real server.

Where a run is involved it runs in a real `corral runner`. `endpoints.py` lists what is delivered and what is to come.
"""
