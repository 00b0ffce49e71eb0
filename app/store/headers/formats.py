"""The formats of model files, and their suffixes."""

from typing import Literal

Format = Literal["gguf", "onnx", "safetensors", "unknown"]

BY_SUFFIX: dict[str, Format] = {".gguf": "gguf", ".onnx": "onnx", ".safetensors": "safetensors"}


def format_of_name(name: str) -> Format:
    """Return the format of a name's suffix, in upper or lower case; `unknown` for any other suffix."""
    leaf = name.rpartition("/")[2]
    return BY_SUFFIX.get(leaf[leaf.rfind(".") :].lower(), "unknown")
