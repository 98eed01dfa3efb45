"""What runs in the process of a Python model; imports numpy, msgspec and little else, so that it starts quickly."""
