"""Tool calls in a model's text, taken out as they are written: each JSON, {"name": ..., "arguments": ...}, in tags."""

import json
import re
from collections.abc import Callable

from engines.generation import ToolCallDelta
from engines.text_generator import ToolSyntax
from service.generation.stops import begun

Piece = str | ToolCallDelta

_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')
_MARK = re.compile(r'\\.?|["{}\[\]<]', re.DOTALL)


class ToolCallParser:
    """Text to pieces: free text as it is, and calls, their arguments as they come, exactly as the model wrote them.

    What begins as a call and is none is given back as text; so is a call only while nothing of it was passed on. Blanks
    around calls are left out. `calls`: that were begun. `new_id` makes their ids.
    """

    __slots__ = ("_begin", "_buffer", "_end", "_gap", "_json", "_new_id", "_state", "calls")

    def __init__(self, syntax: ToolSyntax, new_id: Callable[[], str]) -> None:
        self.calls = 0
        self._begin = syntax.begin.strip()
        self._end = syntax.end.strip()
        self._new_id = new_id
        self._buffer = ""
        self._gap = ""
        self._json = _JsonEnd()
        self._state: Callable[[list[Piece]], bool] = self._free

    @property
    def held(self) -> int:
        """Characters held back."""
        in_head = self._state == self._head
        return len(self._buffer) + (len(self._gap) + len(self._begin) if in_head else 0)

    def push(self, text: str) -> list[Piece]:
        """What is sure."""
        self._buffer += text
        pieces: list[Piece] = []
        while self._state(pieces):
            pass
        return pieces

    def flush(self) -> list[Piece]:
        """What was held back."""
        pieces: list[Piece] = []
        if self._state == self._head and not self._take_whole(self._buffer, pieces):
            pieces.append(self._gap + self._begin + self._buffer)
        elif self._state == self._free and not (self.calls and self._buffer.isspace()):
            pieces.append(self._buffer)
        self._buffer = ""
        self._state = self._free
        return [piece for piece in pieces if piece]

    # Each state takes what it can from the buffer and says whether the next one should look at the rest.

    def _free(self, pieces: list[Piece]) -> bool:
        at = self._buffer.find(self._begin)
        text = self._buffer[: at if at >= 0 else len(self._buffer) - begun(self._buffer, self._begin)]
        body = text.rstrip()
        if body:
            pieces.append(body)
        if at < 0:
            self._buffer = self._buffer[len(body) :]
            return False
        self._gap = text[len(body) :]
        self._buffer = self._buffer[at + len(self._begin) :]
        self._state = self._head
        return True

    def _head(self, pieces: list[Piece]) -> bool:
        start = self._buffer.lstrip()
        if not start:
            return False
        if start[0] != "{":
            pieces.append(self._gap + self._begin)
            self._state = self._free
            return True
        end = self._buffer.find(self._end)
        head = _HEAD.match(self._buffer, 0, end if end >= 0 else len(self._buffer))
        name = _parsed(head[1]) if head else None
        if head is not None and isinstance(name, str):
            pieces.append(self._call(name))
            self._buffer = self._buffer[head.end() :]
            self._json = _JsonEnd()
            self._state = self._arguments
            return True
        return end >= 0 and self._whole(end, pieces)

    def _whole(self, end: int, pieces: list[Piece]) -> bool:
        """A call in other words than usual, which ends at `end`; or none."""
        if not self._take_whole(self._buffer[:end], pieces):
            pieces.append(self._gap + self._begin + self._buffer[: end + len(self._end)])
        self._buffer = self._buffer[end + len(self._end) :]
        self._state = self._free
        return True

    def _take_whole(self, text: str, pieces: list[Piece]) -> bool:
        call = _parsed(text)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return False
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        pieces += [self._call(call["name"]), ToolCallDelta(self.calls - 1, written)]
        return True

    def _arguments(self, pieces: list[Piece]) -> bool:
        end = self._json.push(self._buffer)
        written = self._buffer if end is None else self._buffer[:end]
        if written:
            pieces.append(ToolCallDelta(self.calls - 1, written))
        self._buffer = self._buffer[len(written) :]
        if end is None:
            return False
        self._state = self._tail
        return True

    def _tail(self, pieces: list[Piece]) -> bool:
        at = self._buffer.find(self._end)
        if at < 0:
            self._buffer = self._buffer[len(self._buffer) - begun(self._buffer, self._end) :]
            return False
        self._buffer = self._buffer[at + len(self._end) :]
        self._state = self._free
        return True

    def _call(self, name: str) -> ToolCallDelta:
        self.calls += 1
        return ToolCallDelta(self.calls - 1, id=self._new_id(), name=name)


class _JsonEnd:
    """Finds where a JSON object ends, piece by piece."""

    __slots__ = ("_depth", "_escaped", "_quoted")

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def push(self, text: str) -> int | None:
        """Where it ends in this piece, if it does: behind its last bracket, or before a tag, which no JSON has."""
        start = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        for match in _MARK.finditer(text, start):
            mark = match[0]
            if mark == "\\":
                self._escaped = True
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted and mark == "<":
                return match.start()
            elif not self._quoted and mark in "{}[]":
                self._depth += 1 if mark in "{[" else -1
                if self._depth == 0:
                    return match.end()
        return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
