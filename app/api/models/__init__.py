"""`/models`: list, get, upload and delete models, protect and verify them.

The routes read requests and build answers; the rules about files are in `app.store`.
"""
