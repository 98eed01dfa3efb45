"""Each bound of a connection: what is within it is answered, what breaks it is told why. Time is the test's own."""

import asyncio

import pytest

from service.limit_settings import DEFAULT_LIMITS, LimitSettings
from tests.service.door.serving import App, Caller, Served, door

GET = b"GET /first HTTP/1.1\r\nhost: x\r\n"
POST = b"POST /first HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
SMALL = DEFAULT_LIMITS.model_copy(
    update={
        "max_header_bytes": 2000,
        "max_headers": 20,
        "max_url_bytes": 500,
        "max_chunks": 50,
        "max_pipelined": 4,
    }
)


def lines(count: int, size: int) -> bytes:
    return b"".join(b"h%02d: %b\r\n" % (number, b"v" * size) for number in range(count))


async def ask_once(request: bytes, limits: LimitSettings = SMALL) -> int:
    async with door(limits) as served:
        status, headers, _ = await (await served.connect()).ask(request)
        assert (headers.get("connection") == "close") == (status != 200)
        return status


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET + lines(19, 90) + b"\r\n", 200),
        (GET + lines(20, 1) + b"\r\n", 431),
        (GET + lines(3, 660) + b"\r\n", 200),
        (GET + lines(3, 670) + b"\r\n", 431),
        (GET + lines(1, 50_000) + b"\r\n", 431),
        (b"GET /" + b"a" * 499 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        (b"GET /" + b"a" * 500 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET /?" + b"a" * 50_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (CHUNKED + b"1\r\nx\r\n" * 49 + b"0\r\n\r\n", 200),
        (CHUNKED + b"1\r\nx\r\n" * 50 + b"0\r\n\r\n", 400),
    ],
)
async def test_what_a_request_may_be(request_: bytes, status: int) -> None:
    assert await ask_once(request_) == status


@pytest.mark.parametrize(
    ("begin", "more", "status"),
    [
        (GET, b"h: v", 431),
        (GET + b"endless: ", b"v" * 4, 431),
        (b"GET /", b"abcd", 414),
        (CHUNKED + b"0\r\n", b"t: v\r\n", 431),
        (CHUNKED + b"1;", b"ext=", 400),
        (CHUNKED + b"0\r\ntrailer: ", b"vvvv", 400),
    ],
)
async def test_what_never_ends_is_refused(begin: bytes, more: bytes, status: int) -> None:
    """Without an end there is no header, no URL and no chunk yet that could be measured."""
    async with door(SMALL, most_body=1000) as served:
        caller = await served.connect()
        await caller.send(begin)
        answer = asyncio.ensure_future(caller.answer())
        for _ in range(10_000):
            if answer.done():
                break
            await caller.send(more * 100)
            await asyncio.sleep(0)
        assert (await answer)[0] == status


async def test_a_long_body_before_a_head_does_not_count_as_head() -> None:
    body = b"x" * 100_000
    request = POST + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    async with door(SMALL) as served:
        caller = await served.connect()
        for _ in range(3):
            await caller.send(request + request[:30])
            assert (await caller.answer())[2] == b"POST /first " + body
            await caller.send(request[30:])
            assert (await caller.answer())[2] == b"POST /first " + body


async def test_more_waiting_requests_than_the_bound_end_the_connection_after_its_answers() -> None:
    async with door(SMALL) as served:
        caller = await served.connect()
        held = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n"
        await caller.send(held + (GET + b"\r\n") * 5)
        await served.app.begun.acquire()
        served.app.hold.set()
        statuses = [(await caller.answer())[0] for _ in range(6)]
        assert statuses == [200] * 5 + [503]
        assert await caller.rest() == b""


SLOW = [
    ("head", GET + b"h: v", DEFAULT_LIMITS.head_seconds),
    ("body", POST + b"content-length: 9\r\n\r\nabc", DEFAULT_LIMITS.body_seconds),
    ("chunked body", CHUNKED + b"3\r\nabc\r\n", DEFAULT_LIMITS.body_seconds),
]


@pytest.mark.parametrize(("request_", "seconds"), [case[1:] for case in SLOW], ids=[case[0] for case in SLOW])
async def test_a_request_that_does_not_come_to_its_end_is_told_so(request_: bytes, seconds: int) -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(request_)
        await served.settled()
        served.pass_time(seconds)
        assert len(served.state.connections) == 1, "it is within its time yet"
        served.pass_time(1)
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert await caller.rest() == b""
    assert served.app.asked == [("GET", "/settled", b"")]


async def test_a_drip_does_not_win_time_for_a_head() -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(GET)
        for _ in range(DEFAULT_LIMITS.head_seconds):
            await served.settled()
            served.pass_time(1)
            await caller.send(b"h: v\r\n")
        await served.settled()
        served.pass_time(1)
        assert (await caller.answer())[0] == 408


async def test_a_body_that_comes_at_the_least_rate_may_take_long() -> None:
    seconds, rate = 3 * DEFAULT_LIMITS.body_seconds, DEFAULT_LIMITS.min_body_rate
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(POST + b"content-length: %d\r\n\r\n" % (seconds * rate))
        for _ in range(seconds):
            await caller.send(b"x" * rate)
            await served.settled()
            served.pass_time(1)
        assert (await caller.answer())[0] == 200


async def test_an_idle_connection_is_closed_without_a_word_and_not_before_its_time() -> None:
    async with door(DEFAULT_LIMITS) as served:
        fresh, used = await served.connect(), await served.connect()
        for _ in range(2):
            assert (await used.ask(GET + b"\r\n"))[0] == 200
            served.pass_time(DEFAULT_LIMITS.idle_seconds)
        assert await fresh.rest() == b""
        assert not used.reader.at_eof()
        served.pass_time(1)
        assert await used.rest() == b""


async def test_a_request_in_hand_is_not_idle() -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
        await served.app.begun.acquire()
        served.pass_time(10 * DEFAULT_LIMITS.idle_seconds)
        served.app.hold.set()
        assert (await caller.answer())[2] == b"GET /held "


async def begun(served: Served, caller: Caller) -> None:
    """The answer to `/large` is on its way, and more of it waits than the system takes."""
    await caller.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    await served.app.begun.acquire()
    await served.settled()


async def test_a_caller_that_takes_nothing_of_its_answer_is_dropped() -> None:
    async with door(DEFAULT_LIMITS, App(large=32 * 2**20)) as served:
        caller = await served.connect(receive_buffer=4096)
        caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await begun(served, caller)
        served.pass_time(DEFAULT_LIMITS.write_seconds)
        assert len(served.state.connections) == 1
        served.pass_time(1)
        await served.settled()
        assert not served.state.connections


async def test_a_caller_that_takes_a_little_now_and_then_is_served() -> None:
    size = 32 * 2**20
    async with door(DEFAULT_LIMITS, App(large=size)) as served:
        caller = await served.connect(receive_buffer=4096)
        await begun(served, caller)
        got = len(await caller.reader.readuntil(b"\r\n\r\n")) * 0
        while got < size:
            served.pass_time(DEFAULT_LIMITS.write_seconds - 1)
            got += len(await caller.reader.readexactly(min(size - got, 4 * 2**20)))
        assert got == size


async def test_a_refused_caller_that_goes_on_sending_can_read_why() -> None:
    async with door(SMALL) as served:
        caller = await served.connect()
        await caller.send(GET + lines(20, 1) + b"\r\n")
        for _ in range(100):
            await caller.send(b"x" * 100_000)
        assert (await caller.answer())[0] == 431
        assert await caller.rest() == b""


async def test_a_refused_caller_that_does_not_leave_is_dropped() -> None:
    async with door(SMALL) as served:
        caller = await served.connect()
        assert (await caller.ask(GET + lines(20, 1) + b"\r\n"))[0] == 431
        served.pass_time(4)
        await served.settled()
        assert not served.state.connections
