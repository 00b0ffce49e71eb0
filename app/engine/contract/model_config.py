"""How AsposeAI runs a model: the settings that the service passes with each load."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How AsposeAI runs a model. A field that is None keeps the vendor's default.

    Without a licence both fields have no effect.
    """

    gpu_layers: int | None = None
    """How many layers of the model a GPU computes, if llama.cpp finds one. No GPU was available to try it."""
    context_size: int | None = None
    """How many tokens the prompt, the text and the answer may have together."""
