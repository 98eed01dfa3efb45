"""The chunks of OpenAI's streams: what chat and completions have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import orjson

from engines.generation import Delta, Event, Finish, Usage
from service.api.openai_answers import Envelope, usage_fields
from service.api.sse import DONE


class ChoiceChunks(Protocol):
    """Writes the chunks of one choice as server-sent events."""

    def begin(self) -> bytes:
        """The chunk that opens the choice, or nothing."""

    def delta(self, delta: Delta) -> bytes:
        """The chunk of a piece."""

    def finish(self, finish: Finish) -> bytes:
        """The chunk of the end."""


NewChoice = Callable[[int, bytes], ChoiceChunks]
"""Makes the writer of choice number `index`. The bytes are what follows the choices in each chunk."""


class Chunks:
    """Implements `service.api.generation_stream.EventEncoder` for a request of `answers` choices.

    `usage`: every chunk has the field, and a last one without choices fills it. `metadata`: what a pipeline found out;
    it stands in the chunk that finishes the last choice.
    """

    def __init__(
        self, envelope: Envelope, new_choice: NewChoice, answers: int, metadata: Mapping[str, str], *, usage: bool
    ) -> None:
        self._opening = b"data: " + envelope.opening()
        self._closing = b',"usage":null}\n\n' if usage else b"}\n\n"
        self._new_choice = new_choice
        self._choices: dict[int, ChoiceChunks] = {}
        self._unfinished = answers
        self._metadata = metadata
        self._usage = usage

    def encode(self, events: Sequence[Event]) -> bytes:
        """One chunk an event, and one that opens each choice."""
        parts: list[bytes] = []
        for event in events:
            if type(event) is Delta:
                parts.append(self._choice(event.index, parts).delta(event))
            elif type(event) is Finish:
                parts.append(self._finish(event, parts))
            elif type(event) is Usage and self._usage:
                parts.append(self._usage_chunk(event))
        return b"".join(parts)

    def end(self) -> bytes:
        """The event that closes the stream."""
        return DONE

    def _choice(self, index: int, parts: list[bytes]) -> ChoiceChunks:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = self._new_choice(index, self._closing)
            parts.append(choice.begin())
        return choice

    def _finish(self, event: Finish, parts: list[bytes]) -> bytes:
        chunk = self._choice(event.index, parts).finish(event)
        self._unfinished -= 1
        if self._unfinished or not self._metadata:
            return chunk
        return b'%b,"metadata":%b}\n\n' % (chunk.removesuffix(b"}\n\n"), orjson.dumps(dict(self._metadata)))

    def _usage_chunk(self, usage: Usage) -> bytes:
        return b'%b"choices":[],"usage":%b}\n\n' % (self._opening, orjson.dumps(usage_fields(usage)))
