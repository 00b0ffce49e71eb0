"""What the commands work on: the model folder of this machine (`folder.py`), or a running service (`service.py`).

Both answer with the JSON objects of the API, so that each command has one output.
"""
