"""What the header of a model file says: readers of GGUF, safetensors and ONNX, within bounds of bytes and steps.

Readers get an open file and know no folder, lock or record. Tensors are never read.
"""
