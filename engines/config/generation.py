"""How a model generates text: the `batchyard.generation.` parameters."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.problems import Problems
from engines.config.values import Values
from engines.errors import ModelLoadError
from engines.model_config import ReasoningSyntax, TextGeneration, ToolSyntaxName
from engines.model_files import file_inside

GENERATION = "batchyard.generation."
BACKENDS = ("echo", "openvino_genai", "openai_upstream", "torch_generate")
"""The backends that generate text."""

_WINDOW = f"{GENERATION}window"
_MAX_TOKENS = f"{GENERATION}max_tokens"
_TEMPERATURE = f"{GENERATION}temperature"
_TOP_P = f"{GENERATION}top_p"
_MAX_SEQUENCES = f"{GENERATION}max_sequences"
_MAX_WAITING = f"{GENERATION}max_waiting"
_KV_CACHE_TOKENS = f"{GENERATION}kv_cache_tokens"
_CHAT_TEMPLATE = f"{GENERATION}chat_template"
_REASONING = f"{GENERATION}reasoning"
_TOOLS = f"{GENERATION}tools"
_KEYS = (
    _WINDOW,
    _MAX_TOKENS,
    _TEMPERATURE,
    _TOP_P,
    _MAX_SEQUENCES,
    _MAX_WAITING,
    _KV_CACHE_TOKENS,
    _CHAT_TEMPLATE,
    _REASONING,
    _TOOLS,
)
_REASONINGS: Mapping[str, ReasoningSyntax] = {name: name for name in get_args(ReasoningSyntax)}
_TOOL_SYNTAXES: Mapping[str, ToolSyntaxName] = {name: name for name in get_args(ToolSyntaxName)}
_MOST_TOKENS = 2**31 - 1
_MOST_ANSWERS = 65_536


def read_generation(values: Values, proto: ModelConfigProto, folder: Path, problems: Problems) -> TextGeneration | None:
    """How a model of a backend that generates text does it, None for all others."""
    if proto.backend not in BACKENDS:
        for key in values.keys(GENERATION):
            values.refuse(key, f"backend {proto.backend!r} generates no text; use one of {', '.join(BACKENDS)}")
        return None
    values.refuse_unknown(GENERATION, _KEYS)
    default = TextGeneration()
    return TextGeneration(
        window=_count(values, _WINDOW, default.window, _MOST_TOKENS, "the tokens of a prompt and its answer"),
        max_tokens=_count(values, _MAX_TOKENS, default.max_tokens, _MOST_TOKENS, "the most tokens of an answer"),
        temperature=_number(values, _TEMPERATURE, default.temperature, 2.0),
        top_p=_number(values, _TOP_P, default.top_p, 1.0),
        max_sequences=_count(values, _MAX_SEQUENCES, default.max_sequences, _MOST_ANSWERS, "answers at once"),
        max_waiting=_count(values, _MAX_WAITING, default.max_waiting, _MOST_ANSWERS, "answers that may wait"),
        kv_cache_tokens=_count(values, _KV_CACHE_TOKENS, default.kv_cache_tokens, _MOST_TOKENS, "tokens held at once"),
        chat_template=_file(values, folder),
        reasoning=values.choice(_REASONING, _REASONINGS, default.reasoning),
        tools=values.choice(_TOOLS, _TOOL_SYNTAXES, default.tools),
    )


def _count(values: Values, key: str, default: int, most: int, meaning: str) -> int:
    return values.integer(key, 1, most, meaning) if values.has(key) else default


def _number(values: Values, key: str, default: float, most: float) -> float:
    if not values.has(key):
        return default
    try:
        number = float(values.raw(key))
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        values.refuse(key, f"{values.shown(key)}; give a number from 0 to {most:g}")
        return default
    return number


def _file(values: Values, folder: Path) -> str:
    name = values.raw(_CHAT_TEMPLATE)
    if name:
        try:
            file_inside(folder, name)
        except ModelLoadError as error:
            values.refuse(_CHAT_TEMPLATE, str(error))
    return name
