"""A real Triton Inference Server, for comparison: installs it into `.cache/triton` and runs it on loopback."""
