"""The engine of OpenVINO GenAI: continuous batching of causal language models on the CPU, a GPU or an NPU.

Opens an OpenVINO folder (openvino_model.xml and what belongs to it) or one GGUF file, which needs no conversion.
Keys and values are paged, and prompts that begin alike share them. Parameters: `engines.openvino_genai_settings`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from engines.apart import Known
from engines.base import EngineOptions
from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.fallback import with_fallback
from engines.generation import Feature
from engines.model_config import TextGeneration
from engines.openvino_genai_model import block_size, find_model, kv_blocks, read_shape
from engines.openvino_genai_request import SYNTAX, check_request, generation_config, grammar_text
from engines.openvino_genai_scheduler import pipeline_settings, scheduler_config
from engines.openvino_genai_settings import check_step, read_settings
from engines.openvino_genai_warmup import warm_up
from engines.openvino_import import import_openvino
from engines.openvino_model import choose_device, compile_settings
from engines.prefix_index import PrefixIndex, PrefixTrail
from engines.text_generator import (
    ChosenToken,
    GenerationRequest,
    GeneratorLimits,
    RequestId,
    Sampling,
    TokenEvent,
)

if TYPE_CHECKING:
    from openvino_genai import ContinuousBatchingPipeline, GenerationHandle

_ALWAYS: tuple[Feature, ...] = (
    "frequency_penalty",
    "json_schema",
    "logprobs",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "top_k",
)
_MOST_GRAMMARS = 1024
"""Grammars that the compiler keeps for good, each of some 200 kB, before it is opened anew."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A pipeline and what it is told of. `vocabulary`: token ids are below it. `ends`: end-of-text tokens."""

    pipeline: "ContinuousBatchingPipeline"
    vocabulary: int
    ends: frozenset[int]


def open_generator(options: EngineOptions) -> "OpenVinoGenAI":
    """Opens the model in `options.folder`; raises `ModelLoadError` where it, config.pbtxt or the device do not fit."""
    openvino = import_openvino()
    import openvino_genai

    config = options.config
    settings = read_settings(config)
    found = openvino.Core().available_devices
    device = with_fallback(config, lambda: choose_device(config, options.device, found), lambda: "CPU")
    path = find_model(config, options.folder)
    shape = read_shape(config, path)
    block = block_size(device, settings)
    blocks = kv_blocks(config, shape, settings, block)
    sequences = (config.generation or TextGeneration()).max_sequences
    check_step(config, settings, shape.window, sequences)
    scheduler = scheduler_config(openvino_genai, settings, blocks, sequences)
    properties = compile_settings(config.precision, device, options.threads) | pipeline_settings(settings)
    properties["sampler_num_threads"] = options.threads

    def open_pipeline() -> Opened:
        try:
            pipeline = openvino_genai.ContinuousBatchingPipeline(str(path), scheduler, device, properties)
            tokenizer, told = pipeline.get_tokenizer(), pipeline.get_config()
            vocabulary = len(tokenizer.get_vocab())
        except RuntimeError as error:
            text = f"model {config.name!r}: OpenVINO GenAI cannot open {path.name!r} on {device}: {_line(error)}"
            raise ModelLoadError(text) from error
        ends = {*shape.ends, *told.stop_token_ids, told.eos_token_id, tokenizer.get_eos_token_id()}
        return Opened(pipeline, vocabulary, frozenset(end for end in ends if end >= 0))

    limits = GeneratorLimits(shape.window, blocks * block, sequences, block)
    prefixes = PrefixIndex(block, blocks) if settings.prefix_caching else None
    return OpenVinoGenAI(options, openvino_genai, open_pipeline, limits, prefixes, settings.step_tokens)


class OpenVinoGenAI:
    """Implements `TextGenerator` over a pipeline. `prefixes`: None where prompts share nothing."""

    def __init__(
        self,
        options: EngineOptions,
        genai: ModuleType,
        open_pipeline: Callable[[], Opened],
        limits: GeneratorLimits,
        prefixes: PrefixIndex | None,
        step_tokens: int,
    ) -> None:
        generation = options.config.generation or TextGeneration()
        self.limits = limits
        self.features = frozenset((*_ALWAYS, *(("tools",) if generation.tools != "none" else ())))
        self._genai = genai
        self._open_pipeline = open_pipeline
        self._opened: Opened | None = open_pipeline()
        self.vocabulary = self._opened.vocabulary
        self._prefixes = prefixes
        self._step_tokens = step_tokens
        self._ids = count(1)
        self._running: dict[RequestId, _Running] = {}
        self._grammars: set[int] = set()

    def warm_up(self) -> None:
        """Runs prompts and steps of several sizes, and the grammar compiler; takes some seconds."""
        warm_up(self, self._step_tokens, self.vocabulary)

    def check(self, request: GenerationRequest) -> None:
        """Raises `InvalidInputError` for what the pipeline refuses, breaks on or cannot hold."""
        check_request(request, Known(self.limits, self.features, self.vocabulary))

    def add(self, request: GenerationRequest) -> RequestId:
        """Takes a request; its prompt is computed from the next step on."""
        grammar = grammar_text(request.grammar, SYNTAX)
        if grammar:
            self._make_room(grammar)
        opened = self._pipeline()
        prompt = import_openvino().Tensor(request.prompt.reshape(1, -1))
        config = generation_config(self._genai, request, grammar, opened.ends)
        request_id = next(self._ids)
        try:
            handle = opened.pipeline.add_request(request_id, prompt, config)
        except RuntimeError as error:
            raise InvalidInputError(_line(error)) from error
        trail = self._prefixes.begin(request.prompt.tolist()) if self._prefixes is not None else None
        self._running[request_id] = _Running(handle, request.sampling, opened.ends, trail)
        return request_id

    def step(self) -> Sequence[TokenEvent]:
        """One step for all that runs."""
        opened = self._pipeline()
        try:
            opened.pipeline.step()
            events = [event for number, one in self._running.items() if (event := one.read(number)) is not None]
        except (RuntimeError, MemoryError) as error:
            self.close()
            raise _step_error(error) from error
        for event in events:
            if event.finish:
                self._running.pop(event.request_id).end()
        return events

    def cancel(self, request_id: RequestId) -> None:
        """Drops a request; the pipeline lets go of it in its next step."""
        running = self._running.pop(request_id, None)
        if running is not None:
            running.handle.cancel()
            running.end()

    @property
    def cache_usage(self) -> float:
        """The share of the cache that running requests held in the last step, averaged over layers."""
        return float(self._pipeline().pipeline.get_metrics().cache_usage) / 100

    def close(self) -> None:
        """Frees weights and cache."""
        self._running.clear()
        self._opened = None

    def _pipeline(self) -> Opened:
        if self._opened is None:
            raise EngineError("the engine is closed, or broke in a step; open it anew")
        return self._opened

    def _make_room(self, grammar: str) -> None:
        """Opens the pipeline anew where its compiler holds too many grammars and nothing runs: it forgets none."""
        self._grammars.add(hash(grammar))
        if len(self._grammars) <= _MOST_GRAMMARS or self._running or self._opened is None:
            return
        self._grammars = {hash(grammar)}
        if self._prefixes is not None:
            self._prefixes.clear()
        self._opened = None
        self._opened = self._open_pipeline()


class _Running:
    """A request in the pipeline."""

    __slots__ = ("_count", "_ends", "_last", "_sampling", "_trail", "handle")

    def __init__(
        self, handle: "GenerationHandle", sampling: Sampling, ends: frozenset[int], trail: PrefixTrail | None
    ) -> None:
        self.handle = handle
        self._sampling = sampling
        self._ends = ends
        self._trail = trail
        self._count = 0
        self._last = -1

    def read(self, request_id: RequestId) -> TokenEvent | None:
        """What the step brought, None for nothing; raises `EngineMemoryError` where the pipeline gave it up."""
        tokens: list[ChosenToken] = []
        finish: Literal["", "stop", "length"] = ""
        while self.handle.can_read():
            for output in self.handle.read().values():
                tokens += map(ChosenToken, output.generated_ids, output.generated_log_probs)
                finish = _FINISHES[output.finish_reason.name]
        if not tokens and not finish:
            if self.handle.get_status().name == "IGNORED":
                raise EngineMemoryError("the cache of keys and values has no room for a request that was let in")
            return None
        first = not self._count
        self._follow(tokens)
        if finish == "stop" and tokens and tokens[-1].id in self._ends:
            tokens.pop()
        cached = self._trail.cached_tokens if first and self._trail is not None else 0
        return TokenEvent(request_id, tuple(tokens), finish, cached)

    def _follow(self, tokens: Sequence[ChosenToken]) -> None:
        """All tokens but the last have gone through the model."""
        if self._trail is not None:
            for token in tokens:
                if self._count:
                    self._trail.grow(self._last)
                else:
                    self._trail.computed()
                self._last = token.id
                self._count += 1
        else:
            self._count += len(tokens)

    def end(self) -> None:
        """It left the pipeline."""
        if self._trail is not None:
            self._trail.end()


_FINISHES: dict[str, Literal["", "stop", "length"]] = {"NONE": "", "STOP": "stop", "LENGTH": "length"}


def _step_error(error: Exception) -> EngineError:
    if isinstance(error, EngineError):
        return error
    text = _line(error)
    memory = isinstance(error, MemoryError) or "memory" in text.lower() or "bad_alloc" in text
    return EngineMemoryError(text) if memory else ExecutionError(text)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
