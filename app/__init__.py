"""A REST service that runs one long-lived AsposeAI and manages its folder of model files."""

__version__ = "0.1.0"
