"""Text completions onto the wire, whole and in chunks."""

from collections.abc import Sequence
from typing import Any

import orjson
from orjson import dumps

from engines.generation import Delta, Finish, TokenLogprob
from service.api.collecting import Answer, Whole
from service.api.openai_answers import Envelope, Json, finite, usage_fields

_CONTINUATION = range(0x80, 0xC0)
"""Bytes that go on with a character."""


class LegacyLogprobs:
    """The logprobs of one completion as they come. `tops`: of how many likeliest tokens each are wanted."""

    __slots__ = ("_characters", "_tops")

    def __init__(self, tops: int) -> None:
        self._tops = tops
        self._characters = 0

    def fields(self, tokens: Sequence[TokenLogprob]) -> Json:
        """OpenAI's four lists for the next tokens of the text. A token's offset is that of its first character."""
        offsets: list[int] = []
        for token in tokens:
            inside = token.bytes[:1] and token.bytes[0] in _CONTINUATION
            offsets.append(self._characters - (1 if inside and self._characters else 0))
            self._characters += sum(byte not in _CONTINUATION for byte in token.bytes)
        return {
            "tokens": [token.token for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": [_tops(token) for token in tokens] if self._tops else None,
            "text_offset": offsets,
        }


def _tops(token: TokenLogprob) -> dict[str, float]:
    """The likeliest tokens and, in any case, the one that was chosen."""
    return {other.token: finite(other.logprob) for other in (*token.top, token)}


def encode_completion(envelope: Envelope, whole: Whole, *, logprobs: int | None) -> bytes:
    """OpenAI's text_completion object. `logprobs`: None where they are not wanted, else of how many tokens."""
    choices = [_choice(index, answer, logprobs) for index, answer in enumerate(whole.answers)]
    answer = envelope.fields() | {"choices": choices, "usage": usage_fields(whole.usage)}
    if whole.generation.metadata:
        answer["metadata"] = dict(whole.generation.metadata)
    return orjson.dumps(answer)


def _choice(index: int, answer: Answer, logprobs: int | None) -> Json:
    return {
        "index": index,
        "text": answer.text,
        "logprobs": None if logprobs is None else LegacyLogprobs(logprobs).fields(answer.logprobs),
        "finish_reason": answer.reason,
    }


class CompletionChoice:
    """Implements `service.api.openai_chunks.ChoiceChunks`. `opening`: the JSON before the choices; `logprobs` as above.

    Unlike the types of the openai client, which know no other, a piece has the finish_reason null, as OpenAI's has.
    """

    __slots__ = ("_after", "_before", "_closing", "_logprobs")

    def __init__(self, opening: bytes, logprobs: int | None, index: int, closing: bytes) -> None:
        self._before = b'data: %b"choices":[{"index":%d,"text":' % (opening, index)
        self._after = b',"logprobs":null,"finish_reason":null}]' + closing
        self._closing = closing
        self._logprobs = None if logprobs is None else LegacyLogprobs(logprobs)

    def begin(self) -> bytes:
        """Nothing: a completion has no role."""
        return b""

    def delta(self, delta: Delta) -> bytes:
        """The chunk of a piece."""
        if self._logprobs is None or not delta.logprobs:
            return b"".join((self._before, dumps(delta.text), self._after))
        logprobs: dict[str, Any] = self._logprobs.fields(delta.logprobs)
        parts = (self._before, dumps(delta.text), b',"logprobs":', dumps(logprobs), b',"finish_reason":null}]')
        return b"".join((*parts, self._closing))

    def finish(self, finish: Finish) -> bytes:
        """The chunk that tells why it ended."""
        end = b'"","logprobs":null,"finish_reason":"%b"}]' % finish.reason.encode()
        return b"".join((self._before, end, self._closing))
