"""How many tokens of keys and values fit into memory, where the configuration does not say."""

from collections.abc import Iterator
from pathlib import Path

import torch

from engines.errors import ModelLoadError
from engines.model_config import ModelConfig, TextGeneration

_CPU_SHARE = 0.25
"""Of the memory that is free once the weights are there: other models and the page cache want some."""
_CUDA_SHARE = 0.8
_KIB = 1024


def cache_tokens(config: ModelConfig, window: int, bytes_per_token: int, device: torch.device) -> int:
    """What `batchyard.generation.kv_cache_tokens` says, else what a share of the free memory holds.

    Never more than all sequences with full windows need. Raises `ModelLoadError` where free memory holds no window.
    """
    generation = config.generation or TextGeneration()
    most = window * generation.max_sequences
    if generation.kv_cache_tokens:
        return min(most, generation.kv_cache_tokens)
    room = _free_bytes(device) // bytes_per_token
    if room < window:
        raise ModelLoadError(
            f"model {config.name!r}: memory for the cache holds {room} tokens of {bytes_per_token} bytes, less than "
            f"the window of {window}; set batchyard.generation.window lower, or kv_cache_tokens yourself"
        )
    return min(most, room)


def _free_bytes(device: torch.device) -> int:
    """The share of the device's free memory that the cache may have."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _CUDA_SHARE)
    return int(min(_free_memory(), default=0) * _CPU_SHARE)


def _free_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes that the machine has free, and bytes that the cgroup still allows."""
    for line in _read(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * _KIB
    allowed, used = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if allowed.isdecimal() and used.isdecimal():
        yield max(0, int(allowed) - int(used))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
