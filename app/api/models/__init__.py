"""`/models`: list, get, upload and delete models, protect and verify them.

The routes read requests and build answers; what happens to files is decided in `app.store`.
"""
