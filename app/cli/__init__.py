"""The command line: serve, and the upkeep of the model folder without a server."""
