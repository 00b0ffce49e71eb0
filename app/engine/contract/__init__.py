"""What crosses the socket between the service and the engine process: messages, processors and recognition options.

Both processes import it, so it imports nothing of either: no `asyncio`, no supervisor and no vendor.
"""
