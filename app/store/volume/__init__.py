"""The volume: whether the model folder is there and writable, what its file system can do, and safe paths into it.

Also what shared volumes need: claims, lookups past a client's cache, and the registry of services. No rule about models
belongs here.
"""
