"""`/engine`: the state of the engine, load and release."""
