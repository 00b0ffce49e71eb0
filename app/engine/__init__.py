"""The engine: AsposeAI, which runs in a separate process that this package supervises.

The modules of this folder run in the service process. `child` runs in the engine process, `contract` declares what
crosses the socket between the two processes, and `native` provides the libraries that AsposeAI needs. No module here
knows HTTP or the store.
"""
