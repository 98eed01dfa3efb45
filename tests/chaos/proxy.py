"""A proxy between callers and the server that tells one planted lie, for the test of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length: "


@dataclass(frozen=True, slots=True)
class Passing:
    """An answer on its way, and the caller's end of the connection."""

    head: bytes
    body: bytes
    caller: asyncio.StreamWriter

    def send(self) -> None:
        """Passes it on as it is."""
        self.caller.write(self.head + self.body)


Lie = Callable[[Passing], Coroutine[None, None, None]]
"""Passes an answer on, or does not, or does something else."""


async def honest(answer: Passing) -> None:
    """Passes every answer on."""
    answer.send()


@dataclass(slots=True)
class Once:
    """Tells `lie` of the answer with this number, counted from 0; all others are passed on."""

    number: int
    lie: Lie
    _seen: int = 0

    async def __call__(self, answer: Passing) -> None:
        self._seen += 1
        await (self.lie if self._seen == self.number + 1 else honest)(answer)


async def drop(answer: Passing) -> None:
    """The caller gets nothing."""


async def cut(answer: Passing) -> None:
    """The caller gets half of it, then the connection closes."""
    answer.caller.write((answer.head + answer.body)[: len(answer.head) + len(answer.body) // 2])
    answer.caller.close()


async def double(answer: Passing) -> None:
    """The caller gets it twice."""
    answer.send()
    answer.send()


async def trail(answer: Passing) -> None:
    """Bytes come behind the answer."""
    answer.send()
    answer.caller.write(b"0\r\n\r\n")


@dataclass(slots=True)
class DoubleLater:
    """The caller gets the first answer again in front of its next one."""

    _kept: Passing | None = None

    async def __call__(self, answer: Passing) -> None:
        if self._kept is None:
            self._kept = answer
        elif self._kept.caller is answer.caller and self._kept.head:
            self._kept.send()
            self._kept = Passing(b"", b"", answer.caller)
        answer.send()


@dataclass(slots=True)
class Swap:
    """Two callers get each other's bodies, each under its own head."""

    _first: Passing | None = None
    _done: bool = False

    async def __call__(self, answer: Passing) -> None:
        if self._done:
            answer.send()
        elif self._first is None:
            self._first = answer
        else:
            self._done = True
            for head, body in ((self._first, answer), (answer, self._first)):
                Passing(_with_length(head.head, len(body.body)), body.body, head.caller).send()


@dataclass(slots=True)
class Proxy:
    """Where callers reach it. `links`: its connections."""

    port: int
    links: list[asyncio.StreamWriter] = field(default_factory=list)


@asynccontextmanager
async def lying_proxy(host: str, port: int, lie: Lie) -> AsyncIterator[Proxy]:
    """Runs a proxy in front of a server until the end of the block."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(host, port)
        proxy.links += [writer, up_writer]
        tasks.add(asyncio.create_task(_forward(reader, up_writer)))
        tasks.add(asyncio.create_task(_answers(up_reader, writer, lie)))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = Proxy(listener.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        listener.close()
        for link in proxy.links:
            link.close()
        await asyncio.gather(*tasks)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def _answers(reader: asyncio.StreamReader, caller: asyncio.StreamWriter, lie: Lie) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(_HEAD_END)
            body = await reader.readexactly(_length(head))
            await lie(Passing(head, body, caller))
    caller.close()


def _length(head: bytes) -> int:
    return int(head.partition(_LENGTH)[2].partition(b"\r")[0])


def _with_length(head: bytes, length: int) -> bytes:
    before, _, rest = head.partition(_LENGTH)
    return before + _LENGTH + str(length).encode() + b"\r" + rest.partition(b"\r")[2]
