"""The engine: AsposeAI in a process of its own, supervised. Knows neither HTTP nor the store."""
