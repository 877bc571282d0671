"""What runs in the child process that holds a Qdrant Edge shard, started as a script (`child.py`).

It imports the engine and the standard library only: numpy alone would add 15 MB to each child. Of the parent's side
(`retrieval/store/edge*.py`) nothing is imported here; the parent imports `messages.py` of here.
"""
