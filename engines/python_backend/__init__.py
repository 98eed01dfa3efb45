"""Triton's Python models: a `model.py` with its class `TritonPythonModel`, in a process of its own an instance."""
