"""The `batchyard.` parameters of config.pbtxt: what Batchyard adds to Triton's configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.generation import GENERATION, read_generation
from engines.config.layout import MAX_TOKENS, PADDING, WIDTHS, read_packing, read_padding
from engines.config.problems import Problems
from engines.config.values import FLAGS, Values
from engines.errors import ModelLoadError
from engines.model_config import Isolation, Packing, Precision, TextGeneration, TextInput
from engines.model_files import file_inside
from engines.tensor import TensorSpec

TOKENIZER = "batchyard.text.tokenizer"
WINDOW = "batchyard.text.max_tokens"
TRUNCATE = "batchyard.text.truncate"
PRECISION = "batchyard.precision"
THREADS = "batchyard.threads"
DEVICE = "batchyard.device"
FALLBACK = "batchyard.fallback"
TOLERANCE = "batchyard.tolerance"
WINDOWS = "batchyard.text.windows"
GATE = "batchyard.text.gate"
ISOLATION = "batchyard.isolation"
WATCHDOG = "batchyard.watchdog_ms"
FINITE = "batchyard.finite"
ENVIRONMENT = "EXECUTION_ENV_PATH"
"""Triton's parameter: the archive of an environment that a Python model is to run in."""

_KEYS = (
    TOKENIZER,
    WINDOW,
    TRUNCATE,
    WINDOWS,
    GATE,
    WIDTHS,
    MAX_TOKENS,
    PRECISION,
    THREADS,
    DEVICE,
    FALLBACK,
    TOLERANCE,
    ISOLATION,
    WATCHDOG,
    FINITE,
)
_PREFIXES = (
    PADDING,
    GENERATION,
    "batchyard.echo.",
    "batchyard.genai.",
    "batchyard.identity.",
    "batchyard.linear.",
    "batchyard.python.",
    "batchyard.tensorrt.",
    "batchyard.triton.",
    "batchyard.upstream.",
)
"""Families of keys: what follows is an input's name, or is read by that engine."""

_PRECISIONS: Mapping[str, Precision] = {name: name for name in get_args(Precision)}
_FALLBACKS: Mapping[str, str] = {"CPU": "CPU"}
"""Where a model may run instead: every engine that has a choice has the CPU."""
_ISOLATIONS: Mapping[str, Isolation] = {name: name for name in get_args(Isolation)}
_MOST = 2**24
_MOST_WATCHDOG_MS = 3_600_000
_MOST_THREADS = 1024
_DEFAULT_TOLERANCE = 0.9999


@dataclass(frozen=True, slots=True)
class Settings:
    """The typed values; `ModelConfig` says what each means."""

    text: TextInput | None
    packing: Packing | None
    padding: Mapping[str, int]
    generation: TextGeneration | None
    precision: Precision
    threads: int
    device: str
    fallback: str
    tolerance: float
    isolation: Isolation
    watchdog: float
    finite: bool


def read_parameters(
    proto: ModelConfigProto, folder: Path, inputs: Sequence[TensorSpec], problems: Problems
) -> Settings:
    """Reads all `batchyard.` parameters; `folder` holds the tokenizer."""
    values = Values({key: value.string_value for key, value in proto.parameters.items()}, problems)
    values.refuse_unknown("batchyard.", _KEYS, _PREFIXES)
    if proto.backend == "python" and values.has(ENVIRONMENT):
        values.refuse(
            ENVIRONMENT,
            f"{values.shown(ENVIRONMENT)} is not supported: archives of environments are not unpacked here, models run "
            "in the gateway's own environment; install what it needs there and remove it",
        )
    packing = read_packing(values, proto, inputs)
    text = _text(values, folder, inputs)
    if text and packing and text.max_tokens > packing.widths[-1]:
        remedy = f"it is above the largest row width, {packing.widths[-1]}; lower it or add a width to {WIDTHS}"
        values.refuse(WINDOW, f"{values.shown(WINDOW)}; {remedy}")
    return Settings(
        text=text,
        packing=packing,
        padding=read_padding(values, inputs, packing),
        generation=read_generation(values, proto, folder, problems),
        precision=values.choice(PRECISION, _PRECISIONS, "fp32"),
        threads=values.integer(THREADS, 1, _MOST_THREADS, "CPU threads") if values.has(THREADS) else 0,
        device=values.text(DEVICE, "name a device, or remove it") if values.has(DEVICE) else "",
        fallback=values.choice(FALLBACK, _FALLBACKS, "") if values.has(FALLBACK) else "",
        tolerance=_tolerance(values) if values.has(TOLERANCE) else _DEFAULT_TOLERANCE,
        isolation=values.choice(ISOLATION, _ISOLATIONS, "none"),
        watchdog=_watchdog(values) if values.has(WATCHDOG) else 0.0,
        finite=values.choice(FINITE, FLAGS, text is not None),
    )


def _text(values: Values, folder: Path, inputs: Sequence[TensorSpec]) -> TextInput | None:
    if not values.keys("batchyard.text."):
        return None
    tokenizer = values.text(TOKENIZER, "name the tokenizer file in the model's folder")
    if tokenizer:
        try:
            file_inside(folder, tokenizer)
        except ModelLoadError as error:
            values.refuse(TOKENIZER, str(error))
    if any(spec.name == "text" for spec in inputs):
        values.refuse(TOKENIZER, f"{tokenizer!r} adds an input 'text', but the model has one; rename the model's")
    window = values.integer(WINDOW, 1, _MOST, "the most tokens of one text")
    truncate, windows = values.choice(TRUNCATE, FLAGS, False), values.choice(WINDOWS, FLAGS, False)
    if truncate and windows:
        values.refuse(WINDOWS, f"{values.shown(WINDOWS)} contradicts {TRUNCATE}; remove one of them")
    return TextInput(tokenizer, window, truncate, windows, _gate(values, windows) if values.has(GATE) else 0.0)


def _gate(values: Values, windows: bool) -> float:
    gate = _real(values.raw(GATE))
    if not 0 <= gate < 1 or not windows:
        values.refuse(GATE, f"{values.shown(GATE)}; give a number from 0 to below 1, and {WINDOWS}: true")
        return 0.0
    return gate


def _watchdog(values: Values) -> float:
    return values.integer(WATCHDOG, 1, _MOST_WATCHDOG_MS, "milliseconds without progress") / 1000


def _tolerance(values: Values) -> float:
    cosine = _real(values.raw(TOLERANCE))
    if not 0 < cosine <= 1:
        values.refuse(TOLERANCE, f"{values.shown(TOLERANCE)}; give the least cosine to fp32, above 0 and at most 1")
    return cosine


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
