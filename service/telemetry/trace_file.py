"""Traces on their way to files, written by a thread of their own in Triton's JSON format."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import BinaryIO

import orjson

LOGGER = logging.getLogger("batchyard.telemetry")

_WAITING = 20_000
"""Traces, of about 1 KB, that wait for the disk; what comes then is dropped."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One request's. `parent`: the id of that of the ensemble it is a step of, 0 none. `version`: -1 where nothing did.

    `stamps`: name and nanoseconds on the server's clock, in order.
    """

    id: int
    parent: int
    model: str
    version: int
    request_id: str
    stamps: tuple[tuple[str, int], ...]

    def encode(self) -> bytes:
        """Its JSON objects, with commas between."""
        head: dict[str, object] = {"id": self.id, "model_name": self.model, "model_version": self.version}
        if self.request_id:
            head["request_id"] = self.request_id
        if self.parent:
            head["parent_id"] = self.parent
        stamps = ({"id": self.id, "timestamps": [{"name": name, "ns": ns}]} for name, ns in self.stamps)
        return b",".join(orjson.dumps(item) for item in (head, *stamps))


class TraceFile:
    """Writes groups of traces: to `path`, an array that `close` ends, or to `path.0`, `path.1` ..., each whole.

    `save` never blocks. The thread starts with the first group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._groups: SimpleQueue[tuple[Sequence[Trace], bool] | None] = SimpleQueue()
        self._lock = Lock()
        self._waiting = 0
        self._thread: Thread | None = None
        self._main: BinaryIO | None = None
        self._number = 0
        self._dropped = 0

    def save(self, traces: Sequence[Trace], numbered: bool) -> None:
        """Has a group written: to the next numbered file, or behind what the file has."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="trace-file", daemon=True)
            self._thread.start()
        with self._lock:
            if self._waiting and self._waiting + len(traces) > _WAITING:
                self._dropped += len(traces)
                return
            self._waiting += len(traces)
        self._groups.put((traces, numbered))

    def close(self, seconds: float) -> None:
        """Has all of it written, within so many seconds. Blocks."""
        if self._thread is None:
            return
        self._groups.put(None)
        self._thread.join(seconds)
        self._thread = None
        if self._dropped:
            LOGGER.warning("%d traces were dropped: %s is written too slowly", self._dropped, self.path)

    def _run(self) -> None:
        while (group := self._groups.get()) is not None:
            try:
                self._write(*group)
            except OSError as error:
                LOGGER.error("traces cannot be written to %s: %s", self.path, error.strerror)
            with self._lock:
                self._waiting -= len(group[0])
        if self._main is not None:
            self._main.write(b"]")
            self._main.close()
            self._main = None

    def _write(self, traces: Sequence[Trace], numbered: bool) -> None:
        data = b",".join(trace.encode() for trace in traces)
        if numbered:
            self.path.with_name(f"{self.path.name}.{self._number}").write_bytes(b"[%b]" % data)
            self._number += 1
            return
        opening = b"["
        if self._main is None:
            self._main = self.path.open("wb")
        else:
            opening = b","
        self._main.write(opening + data)
        self._main.flush()
