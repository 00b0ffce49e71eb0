"""The code of the engine process. The service starts this code with `python -m` and never imports it.

Of the service's code, this package imports only `app.engine.contract`, `app.engine.native.libraries` and `app.errors`:
each import costs time and memory in every new engine process.
"""
