"""How a CUDA device is named in a configuration."""


def gpu_number(name: str) -> int | None:
    """The device number that `cuda`, `cuda:N` or `N` names, None for any other name."""
    kind, _, number = name.partition(":")
    if kind == "cuda" and name != "cuda:":
        kind = number or "0"
    return int(kind) if kind.isascii() and kind.isdecimal() else None
