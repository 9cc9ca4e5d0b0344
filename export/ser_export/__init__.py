"""Export: a trained ``.keras`` model to one ONNX file with its card inside, verified."""
