"""How many connections come in, and that a probe of health always does."""

import pytest

from service.door.guard import Guard, House, Pass, address_of
from service.limit_settings import DEFAULT_LIMITS
from tests.service.door.serving import door

FEW = DEFAULT_LIMITS.model_copy(update={"max_connections": 5, "max_connections_per_address": 3})
GET = b"GET /first HTTP/1.1\r\nhost: x\r\n\r\n"
PROBE = b"GET /v2/health/live?verbose HTTP/1.1\r\nhost: x\r\n\r\n"


def guard() -> Guard:
    return Guard(FEW, House(lambda error, target, headers: b"", frozenset()))


def test_an_address_and_all_together_have_their_bounds() -> None:
    counted = guard()
    assert [counted.enter("a") for _ in range(4)] == [Pass.ALL] * 3 + [Pass.PROBE]
    assert [counted.enter("b") for _ in range(3)] == [Pass.ALL] * 2 + [Pass.PROBE]
    assert counted.enter("c") is Pass.PROBE
    counted.leave("a", Pass.PROBE)
    assert counted.enter("a") is Pass.PROBE
    counted.leave("a", Pass.ALL)
    assert counted.enter("a") is Pass.ALL


def test_who_asks_for_health_is_bounded_too_and_what_leaves_makes_room() -> None:
    counted = guard()
    given = [counted.enter("a") for _ in range(3 + 64 + 2)]
    assert given == [Pass.ALL] * 3 + [Pass.PROBE] * 64 + [Pass.NONE] * 2
    for one in given:
        counted.leave("a", one)
    assert [counted.enter("a") for _ in range(69)] == given


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%lo", "fe80::2%lo", True),
    ],
)
def test_an_ipv6_subscriber_is_one_address(one: str, other: str, same: bool) -> None:
    assert (address_of(one) == address_of(other)) is same


async def test_over_the_bound_health_is_answered_and_nothing_else() -> None:
    async with door(FEW) as served:
        for _ in range(3):
            assert (await (await served.connect()).ask(GET))[0] == 200
        status, headers, body = await (await served.connect()).ask(GET)
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
        assert b"too many connections" in body
        probe = await served.connect()
        status, headers, _ = await probe.ask(PROBE)
        assert (status, headers["connection"]) == (200, "close")
        assert await probe.rest() == b""


async def test_over_the_bound_a_silent_connection_is_soon_gone() -> None:
    async with door(FEW) as served:
        kept = [await served.connect() for _ in range(3)]
        for caller in kept:
            await caller.ask(GET)
        silent, slow = await served.connect(), await served.connect()
        await slow.send(b"GET /v2/health/live HTTP/1.1\r\n")
        assert (await kept[0].ask(GET))[0] == 200
        served.pass_time(3)
        assert await silent.rest() == b""
        assert (await slow.answer())[0] == 408
        assert [(await caller.ask(GET))[0] for caller in kept] == [200] * 3


async def test_a_connection_that_ends_makes_room() -> None:
    async with door(FEW) as served:
        for _ in range(20):
            caller = await served.connect()
            assert (await caller.ask(GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")))[0] == 200
            assert await caller.rest() == b""
