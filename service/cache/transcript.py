"""A whole generation as it is kept: who answered, and all events in their order."""

from collections.abc import Iterable, Mapping

import msgspec

from engines.generation import Delta, Event, Finish, FinishReason, TokenLogprob, ToolCallDelta, Usage

_FORMAT = 1


class _Text(msgspec.Struct, tag=0, array_like=True):
    """A delta of text alone, which most are."""

    index: int
    text: str


class _Delta(msgspec.Struct, tag=1, array_like=True):
    index: int
    text: str
    reasoning: str
    tool_calls: tuple[ToolCallDelta, ...]
    logprobs: tuple[TokenLogprob, ...]


class _Finish(msgspec.Struct, tag=2, array_like=True):
    index: int
    reason: FinishReason


class _Usage(msgspec.Struct, tag=3, array_like=True):
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int


_Row = _Text | _Delta | _Finish | _Usage


class _Stored(msgspec.Struct, array_like=True):
    format: int
    model: str
    version: str
    engine: str
    metadata: dict[str, str]
    rows: list[_Row]


class Transcript(msgspec.Struct, frozen=True):
    """What one generation brought. `events`: `Usage` is the last of them. The rest: as `Generation` has it."""

    model: str
    version: str
    engine: str
    metadata: Mapping[str, str]
    events: tuple[Event, ...]

    @property
    def text(self) -> str:
        """The text of its first answer."""
        return "".join(event.text for event in self.events if isinstance(event, Delta) and not event.index)


def encode(transcript: Transcript) -> bytes | None:
    """As MessagePack; None for text that is no Unicode."""
    rows = [_row(event) for event in transcript.events]
    stored = _Stored(_FORMAT, transcript.model, transcript.version, transcript.engine, dict(transcript.metadata), rows)
    try:
        return msgspec.msgpack.encode(stored)
    except UnicodeEncodeError:
        return None


def decode(data: bytes) -> Transcript | None:
    """None for what `encode` did not write, or wrote otherwise before."""
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if stored.format != _FORMAT or not stored.rows or not isinstance(stored.rows[-1], _Usage):
        return None
    events = tuple(_events(stored.rows))
    return Transcript(stored.model, stored.version, stored.engine, stored.metadata, events)


def _row(event: Event) -> _Row:
    if isinstance(event, Delta):
        if event.reasoning or event.tool_calls or event.logprobs:
            return _Delta(event.index, event.text, event.reasoning, event.tool_calls, event.logprobs)
        return _Text(event.index, event.text)
    if isinstance(event, Finish):
        return _Finish(event.index, event.reason)
    return _Usage(event.prompt_tokens, event.completion_tokens, event.cached_tokens, event.reasoning_tokens)


def _events(rows: Iterable[_Row]) -> Iterable[Event]:
    for row in rows:
        match row:
            case _Text(index, text):
                yield Delta(index, text)
            case _Delta(index, text, reasoning, tool_calls, logprobs):
                yield Delta(index, text, reasoning, tool_calls, logprobs)
            case _Finish(index, reason):
                yield Finish(index, reason)
            case _Usage(prompt, completion, cached, reasoned):
                yield Usage(prompt, completion, cached, reasoned)
