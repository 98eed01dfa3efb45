"""What the link offers, with a real Redis."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from service.cache_settings import RedisSettings
from service.redis_link.counts import Counts
from service.redis_link.keeper import Keeper
from service.redis_link.line import Line, RedisSettingsError
from service.redis_link.link import RedisLink, open_link
from service.redis_link.redis_py import Dialler
from service.redis_link.script import Script
from tests.redis_server import RedisServer
from tests.service.redis_link.linked import TTL, linked, stored, until

ADD = Script(b"return {redis.call('INCRBY', KEYS[1], ARGV[1]), 'added'}")
READS = 50_000
CANCELLED = 0.3
AT_ONCE = 250


async def test_what_is_stored_is_found_until_its_time_is_over(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        assert await link.get(b"key") is None
        await stored(link, b"key", b"\r\n$-1\x00value")
        with redis_server.client() as client:
            assert client.keys() == [b"batchyard:key"]
            assert 0 < client.pttl("batchyard:key") <= TTL * 1000  # type: ignore[operator]
            link.put(b"key", b"gone at once", 0.001)
            await until(lambda: not client.exists("batchyard:key"))
        link.put(b"never", b"no time at all", 0.0)
        assert await link.get(b"never") is None


async def test_prefixes_keep_two_gateways_apart(redis_server: RedisServer) -> None:
    async with linked(redis_server.url, prefix="one") as one, linked(redis_server.url, prefix="two") as two:
        await stored(one, b"key", b"of one")
        assert await two.get(b"key") is None
        await one.run(ADD, [b"n"], [b"1"])
        assert await two.run(ADD, [b"n"], [b"5"]) == [5, b"added"]


async def test_two_links_see_what_the_other_stored(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as one, linked(redis_server.url) as two:
        await stored(one, b"key", b"value")
        assert await two.get(b"key") == b"value"


async def test_scripts_run_whether_redis_knows_them_or_not(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        assert await link.run(ADD, [b"n"], [b"1"]) == [1, b"added"]
        with redis_server.client() as client:
            client.script_flush()
        answers = await asyncio.gather(*(link.run(ADD, [b"n"], [b"1"]) for _ in range(100)))
        assert sorted(answer[0] for answer in answers if answer) == list(range(2, 102))
        assert not link.counts.failures


async def test_a_script_that_fails_is_no_answer(redis_server: RedisServer) -> None:
    async with linked(redis_server.url) as link:
        assert await link.run(Script(b"return redis.error_reply('ERR no')"), [b"n"], []) is None
        assert link.counts.failures == {("run", "refused"): 1}
        assert await link.run(ADD, [b"n"], [b"1"]) == [1, b"added"]


class Noted:
    """A line that notes how many commands were sent at once."""

    def __init__(self, line: Line) -> None:
        self.sent: list[int] = []
        self.read, self.close, self._line = line.read, line.close, line

    async def send(self, commands: Iterable[tuple[bytes, ...]]) -> None:
        noted = list(commands)
        self.sent.append(len(noted))
        await self._line.send(noted)


async def test_what_is_asked_in_one_turn_goes_out_at_once(redis_server: RedisServer) -> None:
    settings = RedisSettings(url=redis_server.url, timeout_ms=2000)
    dialler = Dialler(settings)
    lines: list[Noted] = []

    async def dial() -> Line:
        lines.append(Noted(await dialler()))
        return lines[-1]

    link = RedisLink(settings, dial, dialler.name)
    await link.start()
    asking, _ = lines
    asking.sent.clear()
    await asyncio.gather(*(link.get(b"%d" % number) for number in range(300)))
    assert asking.sent == [300]
    gone = [asyncio.create_task(link.get(b"gone")) for _ in range(10)]
    await asyncio.sleep(0)
    for task in gone[1:]:
        task.cancel()
    await asyncio.wait(gone)
    assert asking.sent == [300, 1]
    await link.close()


async def test_no_reader_gets_what_another_asked_for(redis_server: RedisServer) -> None:
    """50,000 reads of which 30 % are cancelled at any point of their way: 0 wrong values."""
    chance = random.Random(7)
    async with linked(redis_server.url) as link:
        for number in range(1000):
            link.put(b"%d" % number, b"value of %d" % number, TTL)
        await stored(link, b"last", b"stored")
        wrong: list[object] = []
        counts = {"right": 0, "cancelled": 0}

        async def read(number: int) -> None:
            reading = asyncio.create_task(link.get(b"%d" % number))
            if chance.random() < CANCELLED:
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                reading.cancel()
            try:
                value = await reading
            except asyncio.CancelledError:
                counts["cancelled"] += 1
                return
            if value == b"value of %d" % number:
                counts["right"] += 1
            else:
                wrong.append((number, value))

        async def reader() -> None:
            for _ in range(READS // AT_ONCE):
                await read(chance.randrange(1000))

        async with asyncio.timeout(120):
            await asyncio.gather(*(reader() for _ in range(AT_ONCE)))
        assert wrong == []
        assert counts["right"] + counts["cancelled"] == READS
        assert counts["cancelled"] > READS * CANCELLED / 2
        assert not link.counts.failures


async def test_nothing_is_left_of_a_link_that_is_closed(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        before = len(client.client_list())
        async with linked(redis_server.url):
            assert len(client.client_list()) == before + 2
        await until(lambda: len(client.client_list()) == before)
        keeper = Keeper(Dialler(RedisSettings(url=redis_server.url)), "it", 2.0, b"key", Counts())
        assert await keeper.fault() == ""
        await until(lambda: len(client.client_list()) == before)


def test_no_url_is_no_link() -> None:
    assert open_link(RedisSettings()) is None


@pytest.mark.parametrize("url", ["redis://u:geheim@h:port/0", "redis://u:geheim@h/0?nonsense=1", "redis://[u:geheim@h"])
def test_an_address_that_cannot_be_is_told_without_its_password(url: str) -> None:
    with pytest.raises(RedisSettingsError, match=r"redis\.url .*wanted redis://host:port") as raised:
        open_link(RedisSettings(url=url))
    assert "geheim" not in str(raised.value)
