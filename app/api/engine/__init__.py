"""`/engine`: the engine's state, load and release; and the choice of a model to load."""
