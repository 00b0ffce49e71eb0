"""The code of the engine process. The service starts it with `-m` and never imports it.

It imports only `app.engine.contract`, `app.engine.native.libraries` and `app.errors` of the service: whatever else it
imported would be loaded in each new engine process.
"""
