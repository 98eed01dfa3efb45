"""The `batchyard.genai.` parameters of config.pbtxt: how OpenVINO GenAI schedules, and what it may leave out.

Sizes are in tokens, in multiples of a block of the cache where they say what stays in it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from engines.config.problems import Problems
from engines.config.values import FLAGS, Values
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig

PREFIX = "batchyard.genai."
_PREFIX_CACHING = f"{PREFIX}prefix_caching"
_SPLIT_FUSE = f"{PREFIX}dynamic_split_fuse"
_BATCHED = f"{PREFIX}max_num_batched_tokens"
_PRECISION = f"{PREFIX}kv_cache_precision"
_QUANTIZATION = f"{PREFIX}dynamic_quantization"
_SPARSE = f"{PREFIX}sparse_attention"
_LAST_DENSE = f"{_SPARSE}.last_dense_tokens"
_KEEP_START = f"{_SPARSE}.start_tokens"
_KEEP_RECENT = f"{_SPARSE}.recent_tokens"
_THRESHOLD = f"{_SPARSE}.threshold"
_BLOCK = f"{_SPARSE}.block_size"
_STRIDE = f"{_SPARSE}.stride"
_EVICTION = f"{PREFIX}eviction"
_MAX_SIZE = f"{_EVICTION}.max_size"
_START_SIZE = f"{_EVICTION}.start_size"
_RECENT_SIZE = f"{_EVICTION}.recent_size"
_AGGREGATION = f"{_EVICTION}.aggregation"
_ROTATION = f"{_EVICTION}.apply_rotation"
_SNAPKV = f"{_EVICTION}.snapkv_window"
_CRUSH = f"{_EVICTION}.kvcrush_budget"
_ANCHOR = f"{_EVICTION}.kvcrush_anchor"
_KEYS = (
    *(_PREFIX_CACHING, _SPLIT_FUSE, _BATCHED, _PRECISION, _QUANTIZATION),
    *(_SPARSE, _LAST_DENSE, _KEEP_START, _KEEP_RECENT, _THRESHOLD, _BLOCK, _STRIDE),
    *(_MAX_SIZE, _START_SIZE, _RECENT_SIZE, _AGGREGATION, _ROTATION, _SNAPKV, _CRUSH, _ANCHOR),
)
_OF_TRISHAPE = (_KEEP_START, _KEEP_RECENT)
_OF_XATTENTION = (_THRESHOLD, _BLOCK, _STRIDE)
_MOST = 2**20
_STEP_TOKENS = 256
_BLOCK_TOKENS = 32

SparseMode = Literal["trishape", "xattention"]
Aggregation = Literal["sum", "norm_sum"]
"""Not adaptive_rkv, which fails in its first eviction as of 2026.4."""
Anchor = Literal["random", "zeros", "ones", "mean", "alternating"]
KvPrecision = Literal["u8", "f16", "bf16", "f32"]
_MODES: Mapping[str, SparseMode] = {name: name for name in get_args(SparseMode)}
_AGGREGATIONS: Mapping[str, Aggregation] = {name: name for name in get_args(Aggregation)}
_ANCHORS: Mapping[str, Anchor] = {name: name for name in get_args(Anchor)}
_PRECISIONS: Mapping[str, KvPrecision] = {name: name for name in get_args(KvPrecision)}


@dataclass(frozen=True, slots=True)
class Sparse:
    """Attention that passes over parts of a long prompt; its last `last_dense` tokens look at everything.

    trishape: only the first `start` and the last `recent` tokens are looked at. xattention: only the blocks that make
    up `threshold` of the attention, as estimated by every `stride`-th diagonal of blocks of `block` tokens.
    """

    mode: SparseMode
    last_dense: int = 100
    start: int = 128
    recent: int = 1920
    threshold: float = 0.8
    block: int = 64
    stride: int = 8


@dataclass(frozen=True, slots=True)
class Eviction:
    """What stays of a sequence in the cache: `most` tokens, the first `start` and the last `recent` in any case.

    `rotation`: positions are closed up behind what went. `crush_budget`: blocks that stand for those that went.
    """

    most: int
    start: int = 32
    recent: int = 128
    aggregation: Aggregation = "norm_sum"
    rotation: bool = False
    snapkv_window: int = 8
    crush_budget: int = 0
    crush_anchor: Anchor = "random"


@dataclass(frozen=True, slots=True)
class Settings:
    """`step_tokens`: of prompts and answers, that one step computes. `kv_precision` "": the device's own choice.

    `dynamic_quantization`: where weights are compressed, the CPU multiplies in 8 bits. Without it, and with
    `kv_precision` f32, an answer hardly ever depends on who shares the batch, at half the speed.
    """

    prefix_caching: bool = True
    split_fuse: bool = True
    step_tokens: int = _STEP_TOKENS
    kv_precision: KvPrecision | Literal[""] = ""
    dynamic_quantization: bool = True
    sparse: Sparse | None = None
    eviction: Eviction | None = None


def read_settings(config: ModelConfig) -> Settings:
    """Reads and checks the parameters; raises `ModelLoadError` with all that is wrong."""
    problems = Problems(f"model {config.name!r}")
    values = Values(config.parameters, problems)
    values.refuse_unknown(PREFIX, _KEYS)
    eviction = _eviction(values)
    settings = Settings(
        prefix_caching=values.choice(_PREFIX_CACHING, FLAGS, eviction is None),
        split_fuse=values.choice(_SPLIT_FUSE, FLAGS, True),
        step_tokens=_size(values, _BATCHED, _STEP_TOKENS, 1),
        kv_precision=values.choice(_PRECISION, _PRECISIONS, "u8") if values.has(_PRECISION) else "",
        dynamic_quantization=values.choice(_QUANTIZATION, FLAGS, True),
        sparse=_sparse(values),
        eviction=eviction,
    )
    if eviction is not None and settings.prefix_caching:
        values.refuse(_PREFIX_CACHING, "true, but a cache that tokens are evicted from cannot be shared; use false")
    if eviction is not None and eviction.rotation and settings.kv_precision in ("", "u8"):
        values.refuse(_ROTATION, f"true, but keys in 8 bits cannot be rotated; set {_PRECISION} to f16 or f32")
    if settings.kv_precision == "bf16" and config.precision != "bf16":
        values.refuse(_PRECISION, "'bf16' goes with batchyard.precision bf16 only; use u8, f16 or f32")
    problems.raise_any()
    return settings


def check_step(config: ModelConfig, settings: Settings, window: int, sequences: int) -> None:
    """Raises `ModelLoadError` where a prompt of a whole `window` would have to go through in one step and cannot."""
    if not settings.split_fuse:
        why, least = f"{_SPLIT_FUSE} is false, so a prompt is not cut into pieces", max(window, sequences)
    elif settings.eviction is not None and settings.eviction.rotation:
        why, least = f"{_ROTATION} needs the angles of all positions", window
    else:
        return
    if settings.step_tokens < least:
        raise ModelLoadError(
            f"model {config.name!r}: {_BATCHED} is {settings.step_tokens}, but {why}; set it to {least} or more, or "
            "lower batchyard.generation.window"
        )


def _sparse(values: Values) -> Sparse | None:
    if not values.has(_SPARSE):
        _refuse_rest(values, f"{_SPARSE}.", f"set {_SPARSE} too, to {' or '.join(_MODES)}")
        return None
    mode = values.choice(_SPARSE, _MODES, "trishape")
    for key in _OF_XATTENTION if mode == "trishape" else _OF_TRISHAPE:
        if values.has(key):
            values.refuse(key, f"{values.shown(key)}, which is not of {mode}; remove it")
    default = Sparse(mode)
    return Sparse(
        mode,
        last_dense=_size(values, _LAST_DENSE, default.last_dense, 0),
        start=_blocks(values, _KEEP_START, default.start),
        recent=_blocks(values, _KEEP_RECENT, default.recent),
        threshold=_share(values, _THRESHOLD, default.threshold),
        block=_blocks(values, _BLOCK, default.block),
        stride=_size(values, _STRIDE, default.stride, 1),
    )


def _eviction(values: Values) -> Eviction | None:
    if not values.has(_MAX_SIZE):
        _refuse_rest(values, f"{_EVICTION}.", f"set {_MAX_SIZE} too, to the tokens that stay of each sequence")
        return None
    default = Eviction(_blocks(values, _MAX_SIZE, _BLOCK_TOKENS))
    found = Eviction(
        default.most,
        start=_blocks(values, _START_SIZE, default.start),
        recent=_blocks(values, _RECENT_SIZE, default.recent),
        aggregation=values.choice(_AGGREGATION, _AGGREGATIONS, default.aggregation),
        rotation=values.choice(_ROTATION, FLAGS, default.rotation),
        snapkv_window=_size(values, _SNAPKV, default.snapkv_window, 0),
        crush_budget=_size(values, _CRUSH, default.crush_budget, 0),
        crush_anchor=values.choice(_ANCHOR, _ANCHORS, default.crush_anchor),
    )
    kept = found.start + found.recent
    if found.most <= kept:
        values.refuse(_MAX_SIZE, f"{values.shown(_MAX_SIZE)} is not above what always stays, {kept}; raise it")
    elif found.crush_budget * _BLOCK_TOKENS > found.most - kept:
        values.refuse(_CRUSH, f"{values.shown(_CRUSH)} blocks are more than the {found.most - kept} tokens that may go")
    return found


def _refuse_rest(values: Values, prefix: str, remedy: str) -> None:
    for key in values.keys(prefix):
        if key in _KEYS:
            values.refuse(key, f"{values.shown(key)} has no effect alone; {remedy}")


def _size(values: Values, key: str, default: int, least: int) -> int:
    return values.integer(key, least, _MOST, "a number of tokens or blocks") if values.has(key) else default


def _blocks(values: Values, key: str, default: int) -> int:
    if not values.has(key):
        return default
    size = values.integer(key, _BLOCK_TOKENS, _MOST, "tokens")
    if size % _BLOCK_TOKENS:
        values.refuse(key, f"{values.shown(key)}; give a multiple of {_BLOCK_TOKENS}, the tokens of a block")
    return size


def _share(values: Values, key: str, default: float) -> float:
    if not values.has(key):
        return default
    try:
        share = float(values.raw(key))
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        values.refuse(key, f"{values.shown(key)}; give a share of the attention, above 0 and at most 1")
        return default
    return share
