"""The volume: whether the model folder is there and writable, what its file system can do, and safe paths into it.

The package also has what shared volumes need: claims, lookups that bypass a client's cache, and the registry of
services. No rule about models belongs here.
"""
