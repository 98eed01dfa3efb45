"""One answer: tokens come in, events go out. Pure: no clock, no asyncio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from engines.generation import Delta, Event, Finish, ToolCallDelta
from engines.language import Language
from engines.text_generator import ChosenToken, ToolSyntax
from service.generation.logprobs import LogprobQueue
from service.generation.reasoning import Reasoning, ReasoningSplitter
from service.generation.stops import StopFinder
from service.generation.tool_calls import ToolCallParser


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How the tokens of an answer become events.

    `echo`: text that comes first. `stop`: strings in the visible text that end it. `tools`: how calls are written, None
    where there are none. `logprobs`: as `engines.generation.Options` has it.
    """

    echo: str = ""
    stop: tuple[str, ...] = ()
    tools: ToolSyntax | None = None
    reasoning: Reasoning = "none"
    logprobs: int | None = None


class AnswerText:
    """The events of answer number `index`. Text goes through stages: bytes, reasoning, tool calls, stop strings.

    `stopped`: a stop string was met; the answer is to be ended with `finish("stop")`. `completion_tokens`: those that
    were pushed up to then. `new_id` makes the ids of tool calls. Stop strings are looked for in the answer's free text
    only: in reasoning or in a call they would leave no answer at all. With logprobs, every token is told once its text
    is decided (reasoning, calls and tags included); those that lie behind the cut of a stop string are left out.
    """

    __slots__ = (
        "_calls",
        "_echo",
        "_index",
        "_logprobs",
        "_plain",
        "_reasoning",
        "_splitter",
        "_stops",
        "_stream",
        "_text",
        "_tools",
        "completion_tokens",
        "reasoning_tokens",
    )

    def __init__(self, index: int, language: Language, plan: AnswerPlan, new_id: Callable[[], str]) -> None:
        self.completion_tokens = 0
        self.reasoning_tokens = 0
        self._index = index
        self._echo = plan.echo
        self._stream = language.stream()
        self._splitter = ReasoningSplitter(plan.reasoning) if plan.reasoning != "none" else None
        self._tools = ToolCallParser(plan.tools, new_id) if plan.tools is not None else None
        self._stops = StopFinder(plan.stop) if plan.stop else None
        self._logprobs = LogprobQueue(language, plan.logprobs) if plan.logprobs is not None else None
        self._plain = not (self._splitter or self._tools or self._stops or self._logprobs)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCallDelta] = []

    @property
    def stopped(self) -> bool:
        """A stop string was met."""
        return self._stops is not None and self._stops.stopped

    def push(self, tokens: Sequence[ChosenToken]) -> list[Event]:
        """At most one `Delta`, with all that is sure of the text so far."""
        if self._plain:
            self.completion_tokens += len(tokens)
            text = "".join([self._stream.push(token.id) for token in tokens])
            if not text:
                return []
            echo, self._echo = self._echo, ""
            return [Delta(self._index, echo + text)]
        for token in tokens:
            if self.stopped:
                break
            self._take_token(token)
        return self._events()

    def finish(self, reason: Literal["stop", "length"]) -> list[Event]:
        """What is left, and the `Finish`."""
        if not self.stopped:
            self._flush()
        events = self._events()
        called = self._tools is not None and self._tools.calls > 0 and reason == "stop"
        events.append(Finish(self._index, "tool_calls" if called else reason))
        return events

    def _take_token(self, token: ChosenToken) -> None:
        self.completion_tokens += 1
        text = self._stream.push(token.id)
        self._take(text)
        if self._logprobs is not None:
            self._logprobs.add(token, len(text))
            held = sum(stage.held for stage in (self._splitter, self._tools, self._stops) if stage is not None)
            if self._stops is not None and self._stops.stopped:
                self._logprobs.cut(held + self._stops.dropped)
            else:
                self._logprobs.release(held)

    def _take(self, text: str) -> None:
        if self._splitter is not None:
            inside = self._splitter.inside
            reasoning, text = self._splitter.push(text)
            if inside or self._splitter.inside:
                self.reasoning_tokens = self.completion_tokens
            self._reasoning.append(reasoning)
        self._take_answer(text)

    def _take_answer(self, text: str) -> None:
        """Text that is no reasoning."""
        if self._tools is None:
            self._take_free(text)
        elif text:
            self._take_pieces(self._tools.push(text))

    def _take_pieces(self, pieces: Sequence[str | ToolCallDelta]) -> None:
        for piece in pieces:
            if self.stopped:
                return
            if isinstance(piece, str):
                self._take_free(piece)
                continue
            if self._stops is not None:
                self._text.append(self._stops.flush())
            self._calls.append(piece)

    def _take_free(self, text: str) -> None:
        self._text.append(self._stops.push(text) if self._stops is not None else text)

    def _flush(self) -> None:
        """Passes on all that the stages hold back."""
        self._take(self._stream.flush())
        if self._splitter is not None:
            reasoning, text = self._splitter.flush()
            self._reasoning.append(reasoning)
            self._take_answer(text)
        if self._tools is not None:
            self._take_pieces(self._tools.flush())
        if self._stops is not None and not self._stops.stopped:
            self._text.append(self._stops.flush())
        if self._logprobs is not None:
            self._logprobs.end()

    def _events(self) -> list[Event]:
        """What was gathered, as one `Delta`, or none."""
        text = self._echo + "".join(self._text)
        reasoning = "".join(self._reasoning)
        calls = _merged(self._calls)
        logprobs = self._logprobs.take() if self._logprobs is not None else ()
        self._echo = ""
        self._text, self._reasoning, self._calls = [], [], []
        if not (text or reasoning or calls or logprobs):
            return []
        return [Delta(self._index, text, reasoning, calls, logprobs)]


def _merged(calls: Sequence[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """Pieces of the same call as one."""
    merged: list[ToolCallDelta] = []
    for call in calls:
        if merged and merged[-1].index == call.index:
            last = merged.pop()
            call = ToolCallDelta(last.index, last.arguments + call.arguments, last.id, last.name)
        merged.append(call)
    return tuple(merged)
