"""A REST microservice that owns one long-lived AsposeAI and the folder of model files beside it."""

__version__ = "0.1.0"
