"""The engine: AsposeAI, supervised in a process of its own.

The modules of this folder run in the service process. `child` runs in the engine process, `contract` is what crosses
the socket between the two, and `native` is about the libraries that AsposeAI needs. Nothing here knows HTTP or the
store.
"""
