"""Server-sent events, read as they come: lines may be cut anywhere, characters too."""

from engines.errors import ExecutionError

LONGEST_EVENT = 8 * 2**20
"""Bytes of one event, so that a server that never ends a line cannot fill the memory."""


class EventParser:
    """Takes bytes as they arrive, gives the data of each complete event; drops comments (heartbeats) and other fields.

    Works on bytes: a character that is cut in two is whole again once its line is.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_return = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of all events that end in `data`; raises `ExecutionError` where one is too long."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
            self._after_return = False
        if not data:
            return []
        self._after_return = data.endswith(b"\r")
        self._size += len(data)
        if self._size > LONGEST_EVENT:
            raise ExecutionError(f"the upstream server sent an event of more than {LONGEST_EVENT} bytes")
        self._parts.append(data)
        if b"\n" not in data and b"\r" not in data:
            return []
        return self._complete()

    def _complete(self) -> list[bytes]:
        # bytes.splitlines ends lines as the protocol does: at \n, \r and \r\n, and nowhere else.
        lines = b"".join(self._parts).splitlines(keepends=True)
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        self._parts = [rest] if rest else []
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r\n"))) is not None]
        self._size = len(rest) + sum(map(len, self._data))
        return events

    def _line(self, line: bytes) -> bytes | None:
        """The data of the event that `line` ends, if it ends one."""
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        field, _, value = line.partition(b":")
        if field in (b"data", b"error"):  # older llama.cpp reports errors in a field of that name
            self._data.append(value.removeprefix(b" "))
        return None
