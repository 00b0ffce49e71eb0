"""What a model file says of itself in its header: GGUF, safetensors, ONNX."""
