"""What a folder's config.json says of a causal model, and whether its cache can hold rows side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from transformers import AutoConfig, PretrainedConfig

from engines.errors import ModelLoadError
from engines.model_config import ModelConfig, TextGeneration
from engines.model_files import file_inside, path_inside

CONFIG_FILE = "config.json"
_ADAPTER = "adapter_config.json"
_FULL = "full_attention"
_LONGEST = "max_position_embeddings"
_LOCAL = "window_size"
"""What GPT-Neo calls the tokens that its local layers see."""
_ORIGINAL = "original_max_position_embeddings"
"""Beyond so many tokens, longrope turns the positions of all rows of a batch differently."""
_LIMITED = MappingProxyType({"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"})
"""Layers that see all tokens up to so many: served up to there."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """`layers`: that cache keys and values. `window`: tokens of a prompt and its answer."""

    name: str
    layers: int
    window: int


def read_architecture(config: ModelConfig, folder: Path) -> Architecture:
    """Reads `folder`; raises `ModelLoadError` where it is no causal model that this engine can batch."""
    _check_files(config.name, folder)
    try:
        read = AutoConfig.from_pretrained(  # a folder, nothing is fetched  # nosec B615
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # transformers and its validators raise what they like
        raise ModelLoadError(f"model {config.name!r}: {CONFIG_FILE} cannot be read: {_line(error)}") from error
    if read.is_encoder_decoder:
        raise ModelLoadError(
            f"model {config.name!r}: {read.model_type} has an encoder; torch_generate serves causal models"
        )
    text = read.get_text_config(decoder=True)
    layers = getattr(text, "num_hidden_layers", None)
    if not isinstance(layers, int) or layers < 1:
        raise ModelLoadError(f"model {config.name!r}: {CONFIG_FILE} of {read.model_type} names no num_hidden_layers")
    window = _window(config, dict(_limits(config.name, text)))
    return Architecture(str(read.model_type), layers, window)


def _check_files(model: str, folder: Path) -> None:
    """Only safetensors are read: pickles can run code. Links must not lead out of the folder."""
    file_inside(folder, CONFIG_FILE)
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    for name in names:
        path_inside(folder, name)
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelLoadError(
            f"model {model!r}: the folder has no *.safetensors file; pickles (*.bin, *.pt) are not served, "
            "since they can run code: save the model again with save_pretrained"
        )
    if _ADAPTER in names:
        raise ModelLoadError(f"model {model!r}: the folder holds {_ADAPTER}; merge the adapter into the model first")


def _limits(model: str, text: PretrainedConfig) -> Iterator[tuple[str, int]]:
    """What config.json limits the window to, by name; raises `ModelLoadError` for layers with another kind of cache."""
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    longrope = rope if isinstance(rope, dict) and rope.get("rope_type") == "longrope" else {}
    original = longrope.get(_ORIGINAL) or (getattr(text, _ORIGINAL, None) if longrope else None)
    found = {_LONGEST: getattr(text, _LONGEST, None), _LOCAL: getattr(text, _LOCAL, None), _ORIGINAL: original}
    for name, limit in found.items():
        if isinstance(limit, int) and limit > 0:
            yield name, limit
    for kind in _layer_types(text):
        limit = getattr(text, _LIMITED.get(kind, ""), None)
        if kind != _FULL and not (isinstance(limit, int) and limit > 0):
            raise ModelLoadError(
                f"model {model!r}: {text.model_type} has layers of type {kind!r}, whose cache torch_generate cannot "
                f"batch; it serves models whose layers are {', '.join((_FULL, *_LIMITED))}"
            )
        if isinstance(limit, int):
            yield _LIMITED[kind], limit


def _layer_types(text: PretrainedConfig) -> frozenset[str]:
    types = getattr(text, "layer_types", None)
    if types:
        return frozenset(types)
    slides = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return frozenset({"sliding_attention" if slides else _FULL})


def _window(config: ModelConfig, limits: Mapping[str, int]) -> int:
    """The window that was asked for, else the least of `limits`."""
    wanted = (config.generation or TextGeneration()).window
    if not limits and not wanted:
        raise ModelLoadError(
            f"model {config.name!r}: {CONFIG_FILE} names no {_LONGEST}; set batchyard.generation.window"
        )
    for name, limit in limits.items():
        if wanted > limit:
            raise ModelLoadError(
                f"model {config.name!r}: batchyard.generation.window is {wanted}, but torch_generate serves this model "
                f"up to its {name} of {limit}; set the window to at most {limit}"
            )
    return wanted or min(limits.values())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
