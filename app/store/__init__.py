"""The store: the model folder and its rules. Knows neither HTTP nor the engine."""
