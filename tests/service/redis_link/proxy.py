"""A proxy in front of a Redis that delays, cuts, and puts in bytes of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Proxy:
    """`delay`: seconds that each answer comes late. `cut_after`: bytes of answers after which connections are closed,
    counted from when it is set. `junk`: goes to the caller before the next answer."""

    port: int = 0
    delay: float = 0.0
    cut_after: float = float("inf")
    junk: bytes = b""
    links: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Closes all connections."""
        for link in self.links:
            link.transport.abort()
        self.links.clear()

    async def questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what the caller sends."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what Redis sends, as the proxy is told."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay)
                writer.write(self.junk + data[: int(min(len(data), self.cut_after))])
                self.junk = b""
                self.cut_after -= len(data)
                if self.cut_after <= 0:
                    self.cut_after = float("inf")
                    break
        writer.close()


@asynccontextmanager
async def redis_proxy(port: int) -> AsyncIterator[Proxy]:
    """Runs in front of the Redis at `port` until the end of the block."""
    proxy = Proxy()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        proxy.links += [writer, up_writer]
        tasks.add(asyncio.create_task(proxy.questions(reader, up_writer)))
        tasks.add(asyncio.create_task(proxy.answers(up_reader, writer)))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        proxy.cut()
        await asyncio.gather(*tasks)
