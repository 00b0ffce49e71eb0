"""The command line: one module for each group of commands, `main` for the group of them all.

Commands work on the store without a server, on the same locks. No rule of the store belongs here, and nothing of HTTP.
"""
