"""The code that runs in the engine process. Nothing in the service process imports it."""
