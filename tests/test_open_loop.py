"""The open loop of the benchmarks: it sends when it said it would, whatever the server does, and loses nothing."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from benchmarks.open_loop import arrivals, closed_loop, open_loop
from benchmarks.wire import post

SLOW = 0.05


class _Server(asyncio.Protocol):
    """Answers each POST after `SLOW` seconds with the body it got; `bye` ends the connection instead."""

    def __init__(self, opened: set["_Server"]) -> None:
        self._opened = opened
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]) if found else 0
        if found and len(body) >= size:
            self._data = b""
            asyncio.get_running_loop().call_later(SLOW, self._answer, body)

    def _answer(self, body: bytes) -> None:
        if body == b"bye":
            self.transport.close()
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nx-content-length: 1\r\ncontent-length: %d\r\n\r\n" % len(body))
            self.transport.write(body)


@pytest.fixture
def url() -> Iterator[str]:
    loop, opened = asyncio.new_event_loop(), set[_Server]()
    server = loop.run_until_complete(loop.create_server(lambda: _Server(opened), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(_closed(opened))
    loop.close()


async def _closed(opened: set[_Server]) -> None:
    for connection in opened:
        connection.transport.abort()
    await asyncio.sleep(0)  # the loop's turn in which it closes them


def test_arrivals_come_at_the_rate_and_repeat_with_the_seed() -> None:
    times = list(arrivals(1000, 10, 3))
    assert times == list(arrivals(1000, 10, 3)) != list(arrivals(1000, 10, 4))
    assert times == sorted(times)
    assert 9_600 < len(times) < 10_400


def test_an_open_loop_does_not_wait_for_slow_answers(url: str) -> None:
    exchanges = open_loop(url, lambda number: post(url, b"%d" % number), 200, 1.0, 1)
    assert [one.body for one in exchanges] == [b"%d" % number for number in range(len(exchanges))]
    assert {one.status for one in exchanges} == {200}
    assert len(exchanges) == len(list(arrivals(200, 1.0, 1)))
    assert min(one.seconds for one in exchanges) >= SLOW * 0.9
    overlapping = sum(later.sent < earlier.done for earlier, later in pairwise(exchanges))
    assert overlapping > len(exchanges) / 2


def test_a_closed_loop_keeps_so_many_under_way(url: str) -> None:
    exchanges = closed_loop(url, [post(url, b"a"), post(url, b"b")], 4, 0.5)
    assert {one.body for one in exchanges} == {b"a", b"b"}
    assert all(one.status == 200 for one in exchanges)
    events = sorted([(one.sent, 1) for one in exchanges] + [(one.done, -1) for one in exchanges], key=lambda e: e)
    running, most = 0, 0
    for _, change in events:
        running += change
        most = max(most, running)
    assert most == 4


def test_a_connection_that_ends_without_an_answer_is_no_answer(url: str) -> None:
    (exchange, *_) = closed_loop(url, [post(url, b"bye")], 1, 0.2)
    assert exchange.status == 0
