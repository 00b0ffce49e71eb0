"""Readers of the headers of model files: GGUF, safetensors and ONNX, within bounds of bytes and steps.

The readers get an open file. They use no folder, lock or record, and never read tensors.
"""
