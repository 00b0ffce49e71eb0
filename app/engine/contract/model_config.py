"""How AsposeAI runs a model: the settings that the service passes with each load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How AsposeAI runs a model. None keeps the vendor's own value. Without a licence AsposeAI ignores both values."""

    gpu_layers: int | None = None
    """How many layers of the model a GPU computes. No GPU was at hand to try it."""
    context_size: int | None = None
    """How many tokens the prompt, the text and the answer may have together."""
