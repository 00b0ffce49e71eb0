"""What crosses the socket between the service and the engine process: messages, processors and recognition options.

Both processes import this package, so it imports no code of either process: no `asyncio`, no supervisor and no vendor's
package.
"""
