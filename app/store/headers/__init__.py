"""Readers of the headers of model files: GGUF, safetensors and ONNX, within bounds of bytes and steps.

Readers get an open file and know no folder, lock or record. Tensors are never read.
"""
