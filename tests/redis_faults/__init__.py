"""What a Redis that fails costs the requests of gateways that share it."""
