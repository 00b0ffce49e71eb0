"""The code of the engine process. The service starts this code with `python -m` and never imports it.

Of the service's code, this package imports only `app.engine.contract`, `app.errors`, and `libraries` and `gpus` of
`app.engine.native`: each import costs time and memory in every new engine process.
"""
