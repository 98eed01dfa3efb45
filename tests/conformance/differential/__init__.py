"""The same requests to a real Triton and to us: what differs is listed, or a fault."""
