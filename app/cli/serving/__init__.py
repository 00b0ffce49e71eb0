"""The command `serve`: `serve.py` checks the settings and folders, `http_server.py` builds and runs the server."""
