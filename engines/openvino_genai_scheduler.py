"""The settings as the SDK takes them."""

from types import ModuleType
from typing import Any

from engines.openvino_genai_settings import Eviction, Settings, Sparse


def pipeline_settings(settings: Settings) -> dict[str, Any]:
    """Properties of the compiled model."""
    found: dict[str, Any] = {}
    if settings.kv_precision:
        found["KV_CACHE_PRECISION"] = settings.kv_precision
    if not settings.dynamic_quantization:
        found["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
    return found


def scheduler_config(genai: ModuleType, settings: Settings, blocks: int, sequences: int) -> Any:
    """A `SchedulerConfig` with a cache of `blocks` for up to `sequences` at once."""
    config = genai.SchedulerConfig()
    config.num_kv_blocks = blocks
    config.max_num_seqs = sequences
    config.max_num_batched_tokens = settings.step_tokens
    config.dynamic_split_fuse = settings.split_fuse
    config.enable_prefix_caching = settings.prefix_caching
    if settings.sparse is not None:
        config.use_sparse_attention = True
        config.sparse_attention_config = _sparse(genai, settings.sparse)
    if settings.eviction is not None:
        config.use_cache_eviction = True
        config.cache_eviction_config = _eviction(genai, settings.eviction)
    return config


def _sparse(genai: ModuleType, sparse: Sparse) -> Any:
    return genai.SparseAttentionConfig(
        mode=getattr(genai.SparseAttentionMode, sparse.mode.upper()),
        num_last_dense_tokens_in_prefill=sparse.last_dense,
        num_retained_start_tokens_in_cache=sparse.start,
        num_retained_recent_tokens_in_cache=sparse.recent,
        xattention_threshold=sparse.threshold,
        xattention_block_size=sparse.block,
        xattention_stride=sparse.stride,
    )


def _eviction(genai: ModuleType, eviction: Eviction) -> Any:
    anchor = getattr(genai.KVCrushAnchorPointMode, eviction.crush_anchor.upper())
    return genai.CacheEvictionConfig(
        start_size=eviction.start,
        recent_size=eviction.recent,
        max_cache_size=eviction.most,
        aggregation_mode=getattr(genai.AggregationMode, eviction.aggregation.upper()),
        apply_rotation=eviction.rotation,
        snapkv_window_size=eviction.snapkv_window,
        kvcrush_config=genai.KVCrushConfig(eviction.crush_budget, anchor),
    )
