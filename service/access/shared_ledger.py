"""What a tenant has used at several gateways, counted together in a Redis."""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from service.access.ledger import Clock, Full, Ledger
from service.access.shared_script import NUMBERS
from service.access.window import MEASURES, Window
from service.tenant_settings import WindowSettings

_SOON = 0.001
"""Seconds after which to come back where there is room by now."""
_AGAIN = 0.5
"""Seconds until Redis is tried again with what it was not told: it is better told before others admit more."""
Count = Callable[[Sequence[bytes], Sequence[bytes]], Awaitable[Sequence[bytes | int] | None]]
"""Runs `shared_script` with keys and arguments; None where Redis is away, and then it may have run all the same."""
Answer = Literal["admitted", "refused", "away"]


def gateway_name() -> bytes:
    """Of this process, among those that count together."""
    return secrets.token_hex(8).encode()


@dataclass(slots=True, eq=False)
class _Ask:
    """`requests`: to be admitted, 1, or 0 to learn only."""

    requests: int
    answer: "asyncio.Future[Answer]"


class SharedLedger(Ledger):
    """While Redis is away, goes on from what was known, and takes it that every other gateway admits what this one
    does, so that together they keep the limit. What was counted meanwhile is told when it is back.

    One round at a time is on its way to Redis, with all that came up since the one before.
    """

    def __init__(
        self, tenant: str, limits: Sequence[WindowSettings], clock: Clock, count: Count, gateway: bytes
    ) -> None:
        super().__init__(limits, clock)
        self._count = count
        self._gateway = gateway
        self._keys = list(_keys(tenant, limits, gateway))
        self._totals = [0.0] * len(MEASURES)
        self._asks: list[_Ask] = []
        self._told = True
        self._again: asyncio.TimerHandle | None = None
        self._rounds: asyncio.Task[None] | None = None

    async def admit(self) -> Full | None:
        """See `Ledger`. Waits for Redis no longer than two rounds take."""
        if not self.windows:
            return None
        match await self._ask(1):
            case "admitted":
                return None
            case "refused":
                first = self.windows[0]
                return self.full() or Full("requests", first.seconds, first.limits[0], _SOON)
            case "away":
                return await super().admit()

    async def refresh(self) -> None:
        """Learns what other gateways have counted, where Redis is there."""
        if self.windows:
            await self._ask(0)

    def add(self, amounts: Sequence[float]) -> None:
        """Here at once, and in Redis as soon as it can be."""
        super().add(amounts)
        self._totals = [total + amount for total, amount in zip(self._totals, amounts, strict=True)]
        self._told = False
        self._go_round()

    async def _ask(self, requests: int) -> Answer:
        ask = _Ask(requests, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._go_round()
        return await ask.answer

    def _go_round(self) -> None:
        if self.windows and (self._rounds is None or self._rounds.done()):
            self._rounds = asyncio.get_running_loop().create_task(self._go_rounds())

    async def _go_rounds(self) -> None:
        """Until all is told and answered. Where Redis is away, nobody waits for another round, and what is not told
        waits for the next request, or a moment."""
        while self._asks or not self._told:
            asks, self._asks = self._asks, []
            admitted = await self._go_one(sum(ask.requests for ask in asks if not ask.answer.done()))
            if admitted is None:
                _answer([*asks, *self._asks], "away")
                self._asks.clear()
                self._again = self._again or asyncio.get_running_loop().call_later(_AGAIN, self._tell_again)
                return
            wanted = [ask for ask in asks if not ask.answer.done()]
            let_in = [ask for ask in wanted if ask.requests][:admitted]
            _answer(let_in, "admitted")
            _answer(wanted, "refused")
            self._totals[0] += len(let_in)
            self._told = self._told and len(let_in) == admitted

    def _tell_again(self) -> None:
        self._again = None
        if not self._told:
            self._go_round()

    async def _go_one(self, asked: int) -> int | None:
        """Tells what was counted, and learns what all have; how many of the requests that are asked for are admitted.
        None where Redis is away."""
        now = self.clock()
        arguments = [self._gateway, b"%d" % asked, *map(_text, self._totals)]
        for window in self.windows:
            window.send(now)
            arguments += _of(window)
        self._told = True
        reply = _numbers(await self._count(self._keys, arguments))
        if len(reply) != 2 + NUMBERS * len(self.windows):
            self._told = False
            for window in self.windows:
                window.take_back()
            return None
        now, peers = self.clock(), max(1, int(reply[1]))
        for window, at in zip(self.windows, range(2, len(reply), NUMBERS), strict=True):
            number, elapsed, *numbers = reply[at : at + NUMBERS]
            window.peers = peers
            window.learn(int(number), elapsed, numbers, now)
        return int(reply[0])


def _answer(asks: Iterable[_Ask], answer: Answer) -> None:
    """To those who wait yet."""
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_result(answer)


def _numbers(reply: Sequence[bytes | int] | None) -> Sequence[float]:
    """What the script answered; none where Redis is away, or says what the script never does."""
    try:
        numbers = [float(one) for one in reply or ()]
    except (TypeError, ValueError):
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _keys(tenant: str, limits: Sequence[WindowSettings], gateway: bytes) -> Iterator[bytes]:
    yield b"gateways"
    for one in limits:
        key = f"quota:{tenant}:{one.seconds}".encode()
        yield key
        yield key + b":" + gateway


def _of(window: Window) -> list[bytes]:
    """The window's part of the arguments."""
    sent, known = window.sent, window.known
    amounts = [before + current for before, current in zip(sent.before, sent.current, strict=True)]
    pairs = [number for pair in zip(known.before, known.current, strict=True) for number in pair]
    numbers = [*window.limits, *amounts, window.number, *pairs]
    return [b"%d" % window.seconds, *map(_text, numbers)]


def _text(number: float) -> bytes:
    return repr(number).encode()
