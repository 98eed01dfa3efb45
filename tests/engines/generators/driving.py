"""Drives a generator by hand, as the service does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.text_generator import ChosenToken, GenerationRequest, RequestId, Sampling, TextGenerator, TokenEvent

_MOST_STEPS = 2000


def config_text(backend: str, **parameters: object) -> str:
    """A config.pbtxt. `parameters`: by their names after `batchyard.`, dots written as two underscores."""
    return (
        f'backend: "{backend}" model_transaction_policy {{ decoupled: true }}\n'
        'input { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] }\n'
        'output { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] }\n'
    ) + "".join(
        f'parameters {{ key: "batchyard.{name.replace("__", ".")}" value {{ string_value: "{value}" }} }}\n'
        for name, value in parameters.items()
    )


def options(folder: Path, text: str, device: str = "") -> EngineOptions:
    """Opens config.pbtxt `text` on version 1 in `folder`."""
    return EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1", device)


def request(prompt: Iterable[int], max_tokens: int = 6, **sampling: Any) -> GenerationRequest:
    """Greedy unless `sampling` says otherwise."""
    wanted = Sampling(**{"max_tokens": max_tokens, "temperature": 0.0, **sampling})
    return GenerationRequest(np.array(list(prompt), np.int64), wanted)


@dataclass(frozen=True)
class Answer:
    tokens: tuple[ChosenToken, ...]
    finish: str

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


class Drive:
    """Adds, steps and cancels, and checks what every generator promises of its events."""

    def __init__(self, generator: TextGenerator) -> None:
        self.generator = generator
        self.tokens: dict[RequestId, list[ChosenToken]] = {}
        self.finished: dict[RequestId, str] = {}
        self.cancelled: set[RequestId] = set()

    def add(self, wanted: GenerationRequest) -> RequestId:
        self.generator.check(wanted)
        request_id = self.generator.add(wanted)
        assert request_id not in self.tokens
        self.tokens[request_id] = []
        return request_id

    def cancel(self, request_id: RequestId) -> None:
        self.generator.cancel(request_id)
        if request_id not in self.finished:
            self.cancelled.add(request_id)

    def step(self) -> Sequence[TokenEvent]:
        events = self.generator.step()
        assert len({event.request_id for event in events}) == len(events)
        for event in events:
            assert event.request_id in self.tokens
            assert event.request_id not in self.finished
            assert event.request_id not in self.cancelled
            assert event.tokens or event.finish
            self.tokens[event.request_id] += event.tokens
            if event.finish:
                self.finished[event.request_id] = event.finish
        return events

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Steps until all is answered, or `until` holds."""
        for _ in range(_MOST_STEPS):
            if until() if until else self.finished.keys() | self.cancelled == self.tokens.keys():
                return
            self.step()
        raise AssertionError(f"not done after {_MOST_STEPS} steps")

    def answer(self, request_id: RequestId) -> Answer:
        return Answer(tuple(self.tokens[request_id]), self.finished[request_id])


def answers(generator: TextGenerator, *wanted: GenerationRequest) -> list[Answer]:
    """Those of all requests, in one batch."""
    drive = Drive(generator)
    ids = [drive.add(one) for one in wanted]
    drive.run()
    return [drive.answer(request_id) for request_id in ids]


def ids(generator: TextGenerator, wanted: GenerationRequest) -> list[int]:
    """The tokens of one request, alone."""
    (answer,) = answers(generator, wanted)
    return answer.ids


def top(token: ChosenToken) -> Mapping[int, float]:
    return dict(token.top)
