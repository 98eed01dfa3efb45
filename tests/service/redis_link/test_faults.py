"""Redis may do anything: callers get None for an answer, never an error, and the link is back as soon as Redis is."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from service.redis_link.health import LONGEST_PAUSE
from service.redis_link.keeper import MOST, MOST_BYTES, OPENING, SILENT
from service.redis_link.link import RedisLink
from service.redis_link.script import Script
from tests.redis_server import RedisServer, redis_process
from tests.service.redis_link.linked import BACK, PATIENT, TTL, linked, stored, until, used_again
from tests.service.redis_link.proxy import Proxy, redis_proxy

SHORT = 50
"""Milliseconds: shorter than what is planted, longer than a busy machine needs."""
PING = Script(b"return {1}")


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[Proxy]:
    """In front of `redis_server`."""
    async with redis_proxy(redis_server.port) as made:
        yield made


async def nothing_comes(link: RedisLink) -> None:
    """All of it ends without an answer and without an error."""
    link.put(b"key", b"value", TTL)
    assert await asyncio.gather(link.get(b"key"), link.run(PING, [b"key"], [])) == [None, None]


async def lost(link: RedisLink) -> None:
    """Asks until it counts as away."""
    async with asyncio.timeout(BACK):
        while link.counts.up:
            assert await link.get(b"key") is None
            await asyncio.sleep(0)


def test_recovery_is_within_five_seconds() -> None:
    """The longest wait is a try that just began, and a pause."""
    assert OPENING + LONGEST_PAUSE < BACK


async def test_killed_and_restarted_empty(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        await stored(link, b"key", b"value")
        redis_server.kill()
        await until(lambda: not link.counts.up)
        await nothing_comes(link)
        redis_server.start()
        await used_again(link)
        assert await link.get(b"key") is None
        assert await link.run(PING, [], []) == [1]


async def test_a_hung_one_is_asked_no_more(redis_server: RedisServer) -> None:
    async with linked(redis_server.url, SHORT) as link:
        await stored(link, b"key", b"value")
        redis_server.stop()
        await lost(link)
        late = link.counts.failures.total()
        assert late <= SILENT + 2
        for _ in range(100):
            await nothing_comes(link)
        assert link.counts.failures.total() == late
        redis_server.go_on()
        await until(lambda: link.counts.up)
        assert await link.get(b"key") == b"value"


async def test_a_hung_one_that_takes_no_more_bytes_keeps_nobody_waiting(redis_server: RedisServer) -> None:
    """What is asked while the system's buffers are full cannot be written, and ends in its time nevertheless; nothing
    of it keeps the connection open."""
    async with linked(redis_server.url, SHORT) as link:
        both = len(os.listdir("/proc/self/fd"))
        redis_server.stop()
        large = [asyncio.create_task(link.get(bytes(8000))) for _ in range(2000)]
        await asyncio.sleep(0)
        await lost(link)
        assert set(await asyncio.gather(*large)) == {None}
        await until(lambda: len(os.listdir("/proc/self/fd")) <= both - 2)


async def test_a_slow_one_counts_as_away_until_it_is_quick(proxy: Proxy) -> None:
    async with linked(proxy.url, SHORT) as link:
        await stored(link, b"key", b"value")
        proxy.delay = 4 * SHORT / 1000
        await lost(link)
        await nothing_comes(link)
        proxy.delay = 0.0
        await until(lambda: link.counts.up)
        assert await link.get(b"key") == b"value"


async def test_one_late_answer_does_not_end_it(proxy: Proxy) -> None:
    """What comes late is nobody's; the next question on the same connection gets its own answer."""
    async with linked(proxy.url, SHORT) as link:
        await stored(link, b"one", b"of one")
        await stored(link, b"two", b"of two")
        proxy.delay = 2 * SHORT / 1000
        assert await link.get(b"one") is None
        proxy.delay = 0.0
        await asyncio.sleep(2 * SHORT / 1000)
        assert [await link.get(b"two"), await link.get(b"one")] == [b"of two", b"of one"]
        assert link.counts.up
        assert link.counts.failures == {("get", "late"): 1}


@pytest.mark.parametrize("after", [1, 3, 7, 100, 2500])
async def test_a_connection_that_closes_amid_an_answer(proxy: Proxy, after: int) -> None:
    async with linked(proxy.url) as link:
        await stored(link, b"key", 2000 * b"v")
        proxy.cut_after = after
        answers = await asyncio.gather(*(link.get(b"key") for _ in range(10)))
        assert set(answers) <= {None, 2000 * b"v"}
        assert None in answers
        await used_again(link)
        assert await link.get(b"key") == 2000 * b"v"


@pytest.mark.parametrize(
    "junk",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\x01 nothing that is known\r\n",
        b"$-2\r\n",
        b"$999999999999\r\n",
        b":7\r\n",
        b"*1\r\n$3\r\nodd\r\n",
        b"+OK\r\n",
    ],
)
async def test_garbage_is_no_answer(proxy: Proxy, junk: bytes) -> None:
    """Bytes that are no answer, and answers to something else."""
    async with linked(proxy.url, 10 * SHORT) as link:
        await stored(link, b"key", b"value")
        proxy.junk = junk
        answers = await asyncio.gather(*(link.get(b"key") for _ in range(10)))
        assert set(answers) <= {None, b"value", b"OK"}
        await used_again(link)
        assert await link.get(b"key") == b"value"


async def test_a_wrong_password_is_told_once_and_tried_until_it_is_right(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with linked(redis_server.url, password="geheim") as link:
        assert not link.counts.up
        await nothing_comes(link)
        with redis_server.client() as client:
            client.config_set("requirepass", "geheim")
        await used_again(link)
    with redis_server.client(password="geheim") as client:
        client.config_set("requirepass", "another")
    caplog.clear()
    with caplog.at_level(logging.INFO, "batchyard.redis"):
        async with linked(f"redis://:geheim@127.0.0.1:{redis_server.port}/0") as link:
            await asyncio.sleep(0.5)
            assert not link.counts.up
            await nothing_comes(link)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "invalid" in caplog.text.lower()
    assert "geheim" not in caplog.text


async def test_a_password_that_is_wanted_and_not_there(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        await stored(link, b"key", b"value")
        with redis_server.client() as client:
            client.config_set("requirepass", "geheim")
            client.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not link.counts.up)
        await nothing_comes(link)
        await asyncio.sleep(0.3)
        assert not link.counts.up
        with redis_server.client(password="geheim") as client:
            client.config_set("requirepass", "")
        await until(lambda: link.counts.up)
        assert await link.get(b"key") == b"value"


@pytest.mark.parametrize(
    ("setting", "ill", "well"), [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")], ids=["full", "replicas"]
)
async def test_one_that_stores_nothing_is_still_read(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, setting: str, ill: str, well: str
) -> None:
    caplog.set_level(logging.INFO, "batchyard.redis")
    with redis_server.client() as client:
        async with linked(redis_server.url) as link:
            await stored(link, b"key", b"value")
            client.config_set(setting, ill)
            link.put(b"more", b"value", TTL)
            await until(lambda: not link.counts.writable)
            for _ in range(100):
                link.put(b"more", b"value", TTL)
            assert link.counts.drops == {("put", "paused"): 100}
            assert await link.get(b"key") == b"value"
            assert link.counts.up
            client.config_set(setting, well)
            await used_again(link)
            assert link.counts.writable
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]


async def test_a_script_that_is_run_tells_that_it_stores_again(redis_server: RedisServer) -> None:
    """Where there is no cache nothing is put."""
    store = Script(b"return {redis.call('INCR', KEYS[1])}")
    with redis_server.client() as client:
        async with linked(redis_server.url) as link:
            client.config_set("maxmemory", "1")
            assert await link.run(store, [b"n"], []) is None
            assert not link.counts.writable
            client.config_set("maxmemory", "0")
            assert await link.run(store, [b"n"], []) == [1]
            assert link.counts.writable


async def test_a_replica_is_read_and_takes_nothing(redis_server: RedisServer) -> None:
    with (
        redis_process(**{"repl-diskless-sync-delay": "0"}) as other,
        redis_server.client() as client,
        other.client() as master,
    ):
        master.set("batchyard:key", "of the master")
        async with linked(redis_server.url) as link:
            client.replicaof("127.0.0.1", other.port)
            await until(lambda: client.get("batchyard:key") is not None)
            link.put(b"more", b"value", TTL)
            await until(lambda: not link.counts.writable)
            assert await link.get(b"key") == b"of the master"
            client.replicaof("NO", "ONE")
            await used_again(link)


@pytest.fixture
def loading() -> Iterator[RedisServer]:
    """A Redis that takes seconds to load what it has."""
    slow = {"key-load-delay": "2000", "loading-process-events-interval-bytes": "1024"}
    with redis_process(**slow, **{"enable-debug-command": "yes"}) as server:
        with server.client() as client:
            client.execute_command("DEBUG", "POPULATE", "1000", "filler", "100")
            client.set("batchyard:key", "value")
            client.save()
        server.kill()
        yield server


async def test_one_that_is_loading_is_waited_for(loading: RedisServer) -> None:
    loading.begin()
    async with linked(loading.url) as link:
        assert not link.counts.up
        await nothing_comes(link)
        await until(lambda: link.counts.up)
        assert await link.get(b"key") == b"value"


async def test_a_flood_is_bounded_in_number_and_bytes(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        redis_server.stop()
        for number in range(MOST + 100):
            link.put(b"%d" % number, b"value", TTL)
        assert link.counts.drops == {("put", "backlog"): 100}
        asking = [asyncio.ensure_future(link.get(b"key")) for _ in range(MOST + 100)]
        await asyncio.sleep(0)
        assert link.counts.drops["get", "backlog"] == 100
        redis_server.go_on()
        await asyncio.wait(asking)
        link.put(b"huge", bytes(MOST_BYTES), TTL)
        assert link.counts.drops["put", "backlog"] == 101
        await stored(link, b"large", bytes(MOST_BYTES // 4))


async def test_what_is_told_and_not_taken_ends_the_connection(redis_server: RedisServer) -> None:
    """Nobody asks anything, and still it is noticed, and what waits is let go."""
    async with linked(redis_server.url) as link:
        redis_server.stop()
        for _ in range(8):
            link.put(b"key", bytes(1 << 20), TTL)
        await until(lambda: not link.counts.up)
        assert link.counts.failures == {("put", "late"): 8}
        redis_server.go_on()
        await used_again(link)


async def test_a_caller_that_leaves_a_hung_one_leaves_nothing(redis_server: RedisServer) -> None:
    async with linked(redis_server.url, PATIENT) as link:
        redis_server.stop()
        tasks = [asyncio.create_task(link.get(b"key")) for _ in range(100)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}
        redis_server.go_on()
        await stored(link, b"key", b"value")
        assert not link.counts.failures
