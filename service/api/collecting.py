"""A generation gathered into whole answers, for callers that do not stream."""

from collections.abc import Awaitable
from dataclasses import dataclass, field

from engines.generation import Delta, Finish, FinishReason, TokenLogprob, ToolCall, ToolCallDelta, Usage
from service.errors import EngineFailedError
from service.generating import Generation


@dataclass(slots=True)
class GatheredCall:
    """A tool call in pieces."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """One answer in pieces; `text` and the others are whole once the generation is."""

    reason: FinishReason = "stop"
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[GatheredCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        return "".join(self.thoughts)

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [ToolCall(call.id, call.name, "".join(call.arguments)) for call in self.calls]

    def add(self, delta: Delta) -> None:
        """Takes the next piece."""
        if delta.text:
            self.pieces.append(delta.text)
        if delta.reasoning:
            self.thoughts.append(delta.reasoning)
        self.logprobs += delta.logprobs
        for piece in delta.tool_calls:
            self._add_call(piece)

    def _add_call(self, piece: ToolCallDelta) -> None:
        while len(self.calls) <= piece.index:
            self.calls.append(GatheredCall())
        call = self.calls[piece.index]
        call.id = call.id or piece.id
        call.name = call.name or piece.name
        call.arguments.append(piece.arguments)


@dataclass(frozen=True, slots=True)
class Whole:
    """All answers of a request, in order, and the generation that they came from, closed."""

    generation: Generation
    answers: list[Answer]
    usage: Usage


async def collect(work: Awaitable[Generation], count: int) -> Whole:
    """Awaits the generation and its `count` answers; raises `BatchyardError`. Cancelling this ends the generation."""
    generation = await work
    try:
        answers = [Answer() for _ in range(count)]
        usage = await _gather(generation, answers)
    finally:
        generation.close()
    return Whole(generation, answers, usage)


async def _gather(generation: Generation, answers: list[Answer]) -> Usage:
    while events := await generation.read():
        for event in events:
            match event:
                case Delta():
                    answers[event.index].add(event)
                case Finish():
                    answers[event.index].reason = event.reason
                case Usage():
                    return event
    raise EngineFailedError(f"model {generation.model!r} ended an answer without saying so")
