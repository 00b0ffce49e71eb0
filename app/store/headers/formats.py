"""Which format of model file a name speaks of."""

from typing import Literal

Format = Literal["gguf", "onnx", "safetensors", "unknown"]

BY_SUFFIX: dict[str, Format] = {".gguf": "gguf", ".onnx": "onnx", ".safetensors": "safetensors"}


def format_of_name(name: str) -> Format:
    """The format that the suffix stands for, in capitals too."""
    leaf = name.rpartition("/")[2]
    return BY_SUFFIX.get(leaf[leaf.rfind(".") :].lower(), "unknown")
