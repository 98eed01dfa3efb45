"""Whether this processor multiplies int8 exactly, for the tests that measure how near int8 models are."""

import platform
from pathlib import Path

import pytest

_INSTRUCTIONS = {"avx512_vnni", "avx_vnni"}


def _is_exact() -> bool:
    """x86 without VNNI adds products of unsigned and signed bytes in 16 bits, where they saturate."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return True
    return not _INSTRUCTIONS.isdisjoint(flags.split())


NEEDS_VNNI = pytest.mark.skipif(not _is_exact(), reason="this CPU has no VNNI: products of int8 saturate")
