"""The files of a causal model for OpenVINO GenAI, and what they say of its window and its cache."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import ModelLoadError
from engines.gguf_file import read_metadata
from engines.model_config import ModelConfig, TextGeneration
from engines.model_files import path_inside, read_text
from engines.openvino_genai_settings import Settings
from engines.repository import model_file

_XML = "openvino_model.xml"
_TOKENIZERS = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
_SETTINGS = "config.json"
_WINDOWS = 16
"""Windows that the cache holds where config.pbtxt does not say how many tokens."""
_MOST_BYTES = 2 * 2**30
"""Of the cache, where config.pbtxt does not say how many tokens."""
_GPU_BLOCK, _GPU_XATTENTION_BLOCK, _CPU_BLOCK = 16, 256, 32
_ENDS = ("eos", "eot", "eom")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """`window`: tokens. `layers`, `heads`, `head_size`: of keys and values; 0 where the files do not say.

    `ends`: end-of-text tokens that the files name; the pipeline may know more.
    """

    window: int
    layers: int = 0
    heads: int = 0
    head_size: int = 0
    ends: frozenset[int] = frozenset()


def find_model(config: ModelConfig, folder: Path) -> Path:
    """The GGUF file, or the folder of an OpenVINO model; raises `ModelLoadError`."""
    if config.default_model_filename:
        path = model_file(config, folder, "")
        return path.parent if path.name == _XML else path
    if (folder / _XML).exists():
        for name in (*(file.name for file in folder.iterdir()), *_TOKENIZERS):
            path_inside(folder, name)
        return folder
    found = sorted(path.name for path in folder.glob("*.gguf"))
    if len(found) != 1:
        what = f"found {len(found)} GGUF files" if found else f"found no GGUF file and no {_XML}"
        raise ModelLoadError(
            f"model {config.name!r} version {folder.name}: {what}; put one there (batchyard build {config.name}), or "
            "name one in default_model_filename"
        )
    return path_inside(folder, found[0])


def read_shape(config: ModelConfig, path: Path) -> ModelShape:
    """What the files say; the window is no larger than `batchyard.generation.window`. Raises `ModelLoadError`."""
    shape = _of_gguf(path) if path.suffix == ".gguf" else _of_folder(config, path)
    wanted = (config.generation or TextGeneration()).window
    if not shape.window and not wanted:
        raise ModelLoadError(
            f"model {config.name!r}: its files do not tell how many tokens it takes; set batchyard.generation.window"
        )
    window = min(size for size in (shape.window, wanted) if size)
    return ModelShape(window, shape.layers, shape.heads, shape.head_size, shape.ends)


def _of_gguf(path: Path) -> ModelShape:
    told = read_metadata(path)
    kind = told.get("general.architecture", "")

    def number(key: str) -> int:
        value = told.get(f"{kind}.{key}", 0)
        return max(value) if isinstance(value, list | tuple) and value else value if isinstance(value, int) else 0

    queries = number("attention.head_count")
    head_size = number("attention.key_length") or (number("embedding_length") // queries if queries else 0)
    heads = number("attention.head_count_kv") or queries
    ends = (told.get(f"tokenizer.ggml.{name}_token_id") for name in _ENDS)
    found = frozenset(end for end in ends if isinstance(end, int))
    return ModelShape(number("context_length"), number("block_count"), heads, head_size, found)


def _of_folder(config: ModelConfig, folder: Path) -> ModelShape:
    try:
        told: Any = json.loads(read_text(folder / _SETTINGS)) if (folder / _SETTINGS).is_file() else {}
    except ValueError as error:
        raise ModelLoadError(f"model {config.name!r}: {_SETTINGS} is no JSON: {error}; export it again") from None
    told = told if isinstance(told, Mapping) else {}
    nested = told.get("text_config")
    told = {**told, **nested} if isinstance(nested, Mapping) else told

    def number(*keys: str) -> int:
        return next((value for key in keys if isinstance(value := told.get(key), int) and value > 0), 0)

    queries = number("num_attention_heads", "n_head")
    head_size = number("head_dim") or (number("hidden_size", "n_embd") // queries if queries else 0)
    window = number("max_position_embeddings", "n_positions")
    return ModelShape(
        window, number("num_hidden_layers", "n_layer"), number("num_key_value_heads") or queries, head_size
    )


def block_size(device: str, settings: Settings) -> int:
    """Tokens of a block of the cache, as OpenVINO GenAI has them on that kind of device."""
    if not device.startswith("GPU"):
        return _CPU_BLOCK
    xattention = settings.sparse is not None and settings.sparse.mode == "xattention"
    return _GPU_XATTENTION_BLOCK if xattention else _GPU_BLOCK


def token_bytes(shape: ModelShape, settings: Settings) -> int:
    """Bytes of the cache that a token takes, 0 where the shape is not known.

    Bytes as u8 come with a scale and a zero point: of values for each token, of keys for each block of 32.
    """
    numbers = shape.layers * shape.heads * shape.head_size
    match settings.kv_precision:
        case "f32":
            return numbers * 8
        case "f16" | "bf16":
            return numbers * 4
    scales = shape.layers * shape.heads * 8
    return numbers * 2 + numbers // 4 + scales


def kv_blocks(config: ModelConfig, shape: ModelShape, settings: Settings, block: int) -> int:
    """Blocks of the cache: for `kv_cache_tokens`, else for 16 windows or what fits into 2 GiB, but one window at least.

    Raises `ModelLoadError` where one window does not fit `kv_cache_tokens`.
    """
    wanted = (config.generation or TextGeneration()).kv_cache_tokens
    window = math.ceil(shape.window / block)
    if wanted:
        if wanted < window * block:
            raise ModelLoadError(
                f"model {config.name!r}: batchyard.generation.kv_cache_tokens {wanted} is less than the window, "
                f"{shape.window}; raise it, or lower batchyard.generation.window"
            )
        return wanted // block
    size = token_bytes(shape, settings)
    fitting = _MOST_BYTES // (size * block) if size else window
    return max(window, min(_WINDOWS * window, fitting))
