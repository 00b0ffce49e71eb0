"""The image under a real Docker daemon, which runs in namespaces, as the guides say.

This is no part of the test suites: it needs root and some minutes. `make test-docker` runs it.
"""
