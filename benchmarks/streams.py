"""Streams from an OpenAI-compatible server, read by one thread that does next to nothing with them.

The load shares the cores with what it measures, so it only counts: bytes are searched for events, never parsed.
"""

import json
import re
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT = 120
_DONE = b"data: [DONE]"
_CONTENT = re.compile(rb'"content": ?"[^"]')
_LONGEST_CONTENT = 13


@dataclass(slots=True)
class Stream:
    """One answer as it came. Times in seconds since all requests were sent; `chunks`: events that carry text."""

    first: float = 0.0
    last: float = 0.0
    chunks: int = 0
    tail: bytes = b""


def body(model: str, messages: Sequence[object], tokens: int) -> bytes:
    """A chat request that streams exactly `tokens` tokens, greedily."""
    asked = {"model": model, "messages": list(messages), "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    return json.dumps({**asked, "stream": True}).encode()


def run(url: str, bodies: Sequence[bytes]) -> list[Stream]:
    """Sends all requests at once, each on a connection of its own, and reads until all are answered."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    selector = selectors.DefaultSelector()
    streams = []
    sockets = [socket.create_connection((host, port), timeout=TIMEOUT) for _ in bodies]
    start = time.perf_counter()
    for connection, content in zip(sockets, bodies, strict=True):
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        connection.setblocking(False)
        stream = Stream()
        streams.append(stream)
        selector.register(connection, selectors.EVENT_READ, (connection, stream))
    left = len(streams)
    while left:
        ready = selector.select(TIMEOUT)
        if not ready:
            raise RuntimeError(f"{left} of {len(streams)} streams were silent for {TIMEOUT} s")
        for key, _ in ready:
            connection, stream = key.data
            if _read(connection, stream, time.perf_counter() - start):
                selector.unregister(connection)
                connection.close()
                left -= 1
    return streams


def _read(connection: socket.socket, stream: Stream, now: float) -> bool:
    """Takes what is there; True at the end of the answer."""
    data = connection.recv(65536)
    if not data:
        raise RuntimeError(f"the server hung up after {stream.chunks} pieces: {stream.tail!r}")
    seen = stream.tail + data
    found = sum(match.end() > len(stream.tail) for match in _CONTENT.finditer(seen))
    if found:
        stream.chunks += found
        stream.first = stream.first or now
        stream.last = now
    stream.tail = seen[-_LONGEST_CONTENT:]
    return _DONE in seen
