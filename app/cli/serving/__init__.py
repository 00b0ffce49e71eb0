"""The command `serve`: `serve.py` checks the settings and folders, `http_server.py` builds and runs the server.

`healthcheck.py` is the command that asks such a server whether it answers.
"""
