"""The `batchyard.genai.` parameters, and the size of the cache: what is read, and what is refused with a remedy."""

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import ModelLoadError
from engines.model_config import ModelConfig, TextGeneration
from engines.openvino_genai_model import ModelShape, block_size, kv_blocks, token_bytes
from engines.openvino_genai_settings import PREFIX, Eviction, Settings, Sparse, check_step, read_settings
from tests.engines.generators.driving import config_text, options

SHAPE = ModelShape(window=8192, layers=30, heads=3, head_size=64)


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    return options(tmp_path, config_text("openvino_genai")).config


def read(config: ModelConfig, **parameters: str) -> Settings:
    found = {PREFIX + name.replace("__", "."): value for name, value in parameters.items()}
    return read_settings(replace(config, parameters=found))


def test_nothing_has_to_be_said(config: ModelConfig) -> None:
    assert read(config) == Settings(prefix_caching=True, split_fuse=True, step_tokens=256)


def test_all_can_be_said(config: ModelConfig) -> None:
    found = read(
        config,
        prefix_caching="false",
        dynamic_split_fuse="false",
        max_num_batched_tokens="1024",
        kv_cache_precision="f32",
        dynamic_quantization="false",
        sparse_attention="trishape",
        sparse_attention__last_dense_tokens="200",
        sparse_attention__start_tokens="64",
        sparse_attention__recent_tokens="256",
        eviction__max_size="672",
        eviction__start_size="64",
        eviction__recent_size="96",
        eviction__aggregation="sum",
        eviction__apply_rotation="true",
        eviction__snapkv_window="16",
        eviction__kvcrush_budget="2",
        eviction__kvcrush_anchor="mean",
    )
    assert found == Settings(
        prefix_caching=False,
        split_fuse=False,
        step_tokens=1024,
        kv_precision="f32",
        dynamic_quantization=False,
        sparse=Sparse("trishape", last_dense=200, start=64, recent=256),
        eviction=Eviction(672, 64, 96, "sum", True, 16, 2, "mean"),
    )
    blocks = read(config, sparse_attention="xattention", sparse_attention__threshold="0.9").sparse
    assert blocks == Sparse("xattention", threshold=0.9)


def test_eviction_turns_prefix_caching_off(config: ModelConfig) -> None:
    assert not read(config, eviction__max_size="672").prefix_caching


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"prefix_cache": "true"}, "no such parameter; the nearest is batchyard.genai.prefix_caching"),
        ({"prefix_caching": "yes"}, "'yes'; use false or true"),
        ({"max_num_batched_tokens": "0"}, "'0'; give a number of tokens or blocks"),
        ({"kv_cache_precision": "i4"}, "'i4'; use u8 or f16 or bf16 or f32"),
        ({"kv_cache_precision": "bf16"}, "goes with batchyard.precision bf16 only"),
        ({"sparse_attention": "dense"}, "'dense'; use trishape or xattention"),
        ({"sparse_attention.recent_tokens": "64"}, "has no effect alone; set batchyard.genai.sparse_attention too"),
        ({"sparse_attention": "trishape", "sparse_attention.stride": "4"}, "not of trishape; remove it"),
        ({"sparse_attention": "xattention", "sparse_attention.start_tokens": "32"}, "not of xattention; remove it"),
        ({"sparse_attention": "xattention", "sparse_attention.threshold": "1.5"}, "give a share of the attention"),
        ({"sparse_attention": "trishape", "sparse_attention.start_tokens": "33"}, "a multiple of 32"),
        ({"eviction.start_size": "32"}, "has no effect alone; set batchyard.genai.eviction.max_size too"),
        ({"eviction.max_size": "160"}, "not above what always stays, 160; raise it"),
        (
            {"eviction.max_size": "192", "eviction.kvcrush_budget": "2"},
            "blocks are more than the 32 tokens that may go",
        ),
        ({"eviction.max_size": "672", "eviction.aggregation": "adaptive_rkv"}, "use sum or norm_sum"),
        ({"eviction.max_size": "672", "eviction.apply_rotation": "true"}, "keys in 8 bits cannot be rotated"),
        ({"eviction.max_size": "672", "prefix_caching": "true"}, "cannot be shared; use false"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(
    config: ModelConfig, parameters: dict[str, str], named: str
) -> None:
    with pytest.raises(ModelLoadError, match=named) as caught:
        read(config, **parameters)
    assert len(str(caught.value).splitlines()) == 1


def test_all_that_is_wrong_is_told_at_once(config: ModelConfig) -> None:
    with pytest.raises(ModelLoadError, match=r"prefix_caching.*max_num_batched_tokens"):
        read(config, prefix_caching="x", max_num_batched_tokens="x")


def test_a_prompt_that_cannot_be_cut_must_fit_one_step(config: ModelConfig) -> None:
    check_step(config, Settings(step_tokens=32), 8192, 64)
    check_step(config, Settings(split_fuse=False, step_tokens=8192), 8192, 64)
    with pytest.raises(ModelLoadError, match=r"is 256, but .*dynamic_split_fuse is false.* set it to 8192 or more"):
        check_step(config, Settings(split_fuse=False), 8192, 64)
    with pytest.raises(ModelLoadError, match=r"apply_rotation needs the angles of all positions"):
        check_step(config, Settings(eviction=Eviction(672, rotation=True)), 8192, 64)


def test_the_cache_holds_16_windows_or_what_fits_into_2_gib(config: ModelConfig) -> None:
    assert kv_blocks(config, SHAPE, Settings(), 32) == 16 * 256
    wide = replace(SHAPE, heads=32)
    assert kv_blocks(config, wide, Settings(), 32) == 2**31 // (token_bytes(wide, Settings()) * 32) < 16 * 256
    assert kv_blocks(config, replace(SHAPE, heads=32, layers=80, window=131072), Settings(), 32) == 4096
    assert kv_blocks(config, ModelShape(window=8192), Settings(), 32) == 256, "the files do not tell"


def test_the_cache_that_is_asked_for(config: ModelConfig) -> None:
    def wanting(tokens: int) -> ModelConfig:
        return replace(config, generation=TextGeneration(kv_cache_tokens=tokens))

    assert kv_blocks(wanting(8192), SHAPE, Settings(), 32) == 256
    assert kv_blocks(wanting(10_000), SHAPE, Settings(), 16) == 625
    with pytest.raises(ModelLoadError, match="kv_cache_tokens 8000 is less than the window, 8192; raise it"):
        kv_blocks(wanting(8000), SHAPE, Settings(), 32)


def test_blocks_depend_on_the_device() -> None:
    xattention = Settings(sparse=Sparse("xattention"))
    assert [block_size(device, Settings()) for device in ("CPU", "GPU.1", "NPU")] == [32, 16, 32]
    assert [block_size(device, xattention) for device in ("CPU", "GPU.1")] == [32, 256]
