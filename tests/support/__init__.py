"""Shared parts of the tests: real services, engines that misbehave, clients and model files. No mocks."""
