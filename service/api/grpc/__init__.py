"""The Open Inference Protocol v2 over gRPC, as Triton serves it, and gRPC's own health service."""
