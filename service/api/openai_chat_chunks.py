"""The chunks of a streamed chat choice."""

from typing import Any

from orjson import dumps

from engines.generation import Delta, Finish, ToolCallDelta
from service.api.openai_answers import chat_logprobs

_ROLE = b'{"role":"assistant","content":"","refusal":null}'
_GOES_ON = b',"logprobs":null,"finish_reason":null}]'


class ChatChoice:
    """Implements `service.api.openai_chunks.ChoiceChunks`. `opening`: the JSON before the choices.

    Almost every chunk is a piece of text: all of it but the text is made once.
    """

    __slots__ = ("_after_text", "_before", "_before_text", "_closing")

    def __init__(self, opening: bytes, index: int, closing: bytes) -> None:
        self._before = b'data: %b"choices":[{"index":%d,"delta":' % (opening, index)
        self._before_text = self._before + b'{"content":'
        self._after_text = b"}" + _GOES_ON + closing
        self._closing = closing

    def begin(self) -> bytes:
        """The chunk that tells the role."""
        return b"".join((self._before, _ROLE, _GOES_ON, self._closing))

    def delta(self, delta: Delta) -> bytes:
        """The chunk of a piece."""
        if delta.reasoning or delta.tool_calls or delta.logprobs:
            return self._rich(delta)
        return b"".join((self._before_text, dumps(delta.text), self._after_text))

    def finish(self, finish: Finish) -> bytes:
        """The chunk that tells why it ended."""
        end = b'{},"logprobs":null,"finish_reason":"%b"}]' % finish.reason.encode()
        return b"".join((self._before, end, self._closing))

    def _rich(self, delta: Delta) -> bytes:
        fields: dict[str, Any] = {}
        if delta.text or delta.logprobs:
            fields["content"] = delta.text
        if delta.reasoning:
            fields["reasoning_content"] = delta.reasoning
        if delta.tool_calls:
            fields["tool_calls"] = [_call(piece) for piece in delta.tool_calls]
        logprobs = dumps(chat_logprobs(delta.logprobs) if delta.logprobs else None)
        parts = (self._before, dumps(fields), b',"logprobs":', logprobs, b',"finish_reason":null}]', self._closing)
        return b"".join(parts)


def _call(piece: ToolCallDelta) -> dict[str, Any]:
    call: dict[str, Any] = {"index": piece.index}
    if piece.id:
        call |= {"id": piece.id, "type": "function"}
    call["function"] = {"name": piece.name} if piece.name else {}
    call["function"]["arguments"] = piece.arguments
    return call
