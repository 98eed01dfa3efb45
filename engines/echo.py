"""A generator without a model: it answers with the tokens of its prompt. For load tests, first steps and fault tests.

Parameters, all optional, each named `batchyard.echo.<name>`:

- `step_ms`, `first_ms`: milliseconds that a step takes, and those that each new prompt adds to one.
- `break_on`: a token id; the engine breaks in the first step of a prompt that starts with it.
- `features`: comma-separated features that it claims to have; it then ignores what they ask for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import get_args

from engines.base import EngineOptions
from engines.errors import ExecutionError, InvalidInputError, ModelLoadError
from engines.generation import Feature
from engines.model_config import ModelConfig, TextGeneration
from engines.own_parameters import own_parameters
from engines.text_generator import ChosenToken, GenerationRequest, GeneratorLimits, RequestId, TokenEvent

Sleep = Callable[[float], None]
"""Waits for so many seconds."""

_PREFIX = "batchyard.echo."
_NAMES = ("step_ms", "first_ms", "break_on", "features")
_WINDOW = 8192
_ALWAYS: tuple[Feature, ...] = ("logprobs", "seed")


def open_generator(options: EngineOptions) -> "EchoGenerator":
    """Opens the echo generator; raises `ModelLoadError` for a parameter that is not right."""
    return EchoGenerator(options.config)


class EchoGenerator:
    """Answers with its prompt, a token a step, and again where `ignore_eos` is set. `sleep` waits out the delays."""

    def __init__(self, config: ModelConfig, sleep: Sleep = time.sleep) -> None:
        generation = config.generation or TextGeneration()
        window = generation.window or _WINDOW
        kv_tokens = generation.kv_cache_tokens or window * generation.max_sequences
        settings = own_parameters(config, _PREFIX, _NAMES)
        self.limits = GeneratorLimits(window, kv_tokens, generation.max_sequences)
        self.features = frozenset((*_ALWAYS, *_features(config.name, settings.get("features", ""))))
        self._step_seconds = _number(config.name, settings, "step_ms", 0) / 1000
        self._first_seconds = _number(config.name, settings, "first_ms", 0) / 1000
        self._break_on = _number(config.name, settings, "break_on", -1)
        self._sleep = sleep
        self._ids = count()
        self._running: dict[RequestId, _Answer] = {}
        self._broken = False

    def warm_up(self) -> None:
        """Nothing to warm: there is nothing to compile."""

    def check(self, request: GenerationRequest) -> None:
        """Raises `InvalidInputError` for a prompt that does not fit the window."""
        needed = request.prompt.size + request.sampling.max_tokens
        if not request.prompt.size or needed > self.limits.window:
            raise InvalidInputError(f"a prompt and its answer have 1 to {self.limits.window} tokens, found {needed}")

    def add(self, request: GenerationRequest) -> RequestId:
        """Takes a request; its first token comes with the next step."""
        request_id = next(self._ids)
        self._running[request_id] = _Answer(request)
        return request_id

    def step(self) -> Sequence[TokenEvent]:
        """One token for each request; raises `ExecutionError` where one of them breaks the engine."""
        new = [answer for answer in self._running.values() if not answer.sent]
        self._broken = self._broken or any(answer.request.prompt[0] == self._break_on for answer in new)
        if self._broken:
            raise ExecutionError("the echo generator was told to break; open it anew")
        seconds = self._step_seconds + self._first_seconds * len(new)
        if seconds > 0:
            self._sleep(seconds)
        events = [answer.next(request_id) for request_id, answer in self._running.items()]
        for event in events:
            if event.finish:
                del self._running[event.request_id]
        return events

    def cancel(self, request_id: RequestId) -> None:
        """Drops a request."""
        self._running.pop(request_id, None)

    def close(self) -> None:
        """Drops all requests."""
        self._running.clear()


class _Answer:
    __slots__ = ("_prompt", "request", "sent")

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.sent = 0
        self._prompt = request.prompt.tolist()

    def next(self, request_id: RequestId) -> TokenEvent:
        token = ChosenToken(self._prompt[self.sent % len(self._prompt)])
        self.sent += 1
        if not self.request.sampling.ignore_eos and self.sent == len(self._prompt):
            return TokenEvent(request_id, (token,), "stop")
        return TokenEvent(request_id, (token,), "length" if self.sent == self.request.sampling.max_tokens else "")


def _number(model: str, settings: Mapping[str, str], name: str, default: int) -> float:
    try:
        value = float(settings.get(name, default))
    except ValueError:
        value = -1
    if name in settings and not 0 <= value < 1e6:
        raise ModelLoadError(f"model {model!r}: parameter {_PREFIX}{name} is {settings[name]!r}; give a number from 0")
    return value


def _features(model: str, names: str) -> list[Feature]:
    known: dict[str, Feature] = {name: name for name in get_args(Feature)}
    try:
        return [known[name.strip()] for name in names.split(",") if name.strip()]
    except KeyError as error:
        wanted = ", ".join(known)
        raise ModelLoadError(f"model {model!r}: {_PREFIX}features names {error}; known are {wanted}") from None
