"""Callers with bad manners: they hang up, send slowly, or read slowly."""

import asyncio
import socket
from itertools import pairwise
from random import Random

from tests.chaos.callers import Call, Manner

_SMALL_BUFFER = 2**16
"""Bytes that the kernel keeps for a slow reader, so that the server feels it; with less, TCP's own timers rule."""
_LEAVES_WITHIN = 0.02
"""Seconds within which a caller that leaves does so: some before the answer, some after it."""
_PIECES = 8
_READ_PAUSE = 0.05


def hangs_up(chance: Random) -> Manner:
    """Leaves at a random point: in the middle of its request, while it waits, or in the middle of the answer."""
    share, wait, by_reset = chance.random(), chance.random() * _LEAVES_WITHIN, chance.random() < 1 / 2
    when = chance.choice(("sending", "waiting", "reading"))

    async def manner(call: Call) -> None:
        if when == "sending":
            call.connection.write(call.request[: max(1, int(share * (len(call.request) - 1)))])
        else:
            call.entry.whole = True
            call.connection.write(call.request)
        if when == "reading":
            await call.connection.begun.wait()
        else:
            await asyncio.sleep(wait)
        _leave(call, by_reset)

    return manner


def _leave(call: Call, by_reset: bool) -> None:
    if call.answer.done():
        return
    call.entry.left = True
    if by_reset:
        call.connection.abort()
    else:
        call.connection.close()


def sends_slowly(chance: Random, seconds: float) -> Manner:
    """Sends its request in pieces over so many seconds."""
    cuts = sorted(chance.random() for _ in range(_PIECES - 1))

    async def manner(call: Call) -> None:
        places = [0, *(int(cut * len(call.request)) for cut in cuts), len(call.request)]
        for start, end in pairwise(places):
            call.connection.write(call.request[start:end])
            await asyncio.sleep(seconds / _PIECES)
        call.entry.whole = True

    return manner


def reads_slowly(seconds: float) -> Manner:
    """Reads a little at a time for so many seconds, then all that is left."""

    async def manner(call: Call) -> None:
        transport = call.connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        call.entry.whole = True
        call.connection.write(call.request)
        for _ in range(int(seconds / _READ_PAUSE)):
            if call.answer.done() or not call.connection.usable:
                return
            transport.pause_reading()
            await asyncio.sleep(_READ_PAUSE)
            transport.resume_reading()
            await asyncio.sleep(0)

    return manner
