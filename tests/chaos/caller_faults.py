"""Faults of callers: they hang up, they are slow, there are too many of them."""

import asyncio
from collections.abc import Collection
from random import Random
from statistics import median, quantiles

from tests.chaos.ledger import Entry, Outcome
from tests.chaos.manners import hangs_up, reads_slowly, sends_slowly
from tests.chaos.questions import APART, PLAIN, STEADY, Question
from tests.chaos.scene import Scene

_WIDE = 20_000
"""Numbers of a request whose answer takes a while to read."""
_HUGE = 500_000
"""Numbers of one whose answer (4.5 MB of JSON) is more than the kernel buffers for a slow reader."""
_SLOW_SECONDS = 2.0
_DEADLINE = 0.1
_PEAK_CALLERS = 32
_PEAK_SECONDS = 1.5
_OVER = 3


async def disconnect(scene: Scene) -> None:
    """Callers hang up at random points of their requests and answers; who is answered before that tries again."""

    async def leaver() -> None:
        chance = Random(scene.chance.random())
        left = False
        while not left:
            wide = chance.random() < 1 / 20
            model = chance.choice((APART, PLAIN))
            question = scene.questions.wide(PLAIN, _WIDE) if wide else scene.questions.good(model)
            left = (await scene.callers.ask(question, hangs_up(chance))).left

    await scene.plant(0.004, leaver)


async def slow_callers(scene: Scene) -> None:
    """Half of them send slowly, half read slowly."""

    async def one() -> None:
        if scene.chance.random() < 1 / 2:
            question = scene.questions.good(scene.chance.choice((APART, PLAIN)))
            await scene.callers.ask(question, sends_slowly(scene.chance, _SLOW_SECONDS))
        else:
            columns = _HUGE if scene.chance.random() < 1 / 8 else _WIDE
            await scene.callers.ask(scene.questions.wide(PLAIN, columns), reads_slowly(_SLOW_SECONDS))

    await scene.plant(0.05, one)


async def overload(scene: Scene) -> None:
    """Three times the peak that was just measured, for `count` seconds, with deadlines of 100 ms."""
    peak = await _peak(scene)
    asked: list[Entry] = []

    async def one() -> None:
        asked.append(await scene.callers.ask(_urgent(scene, ("right", "refused", "clean error"))))

    loop = asyncio.get_running_loop()
    start, due = loop.time(), 0.0
    async with asyncio.TaskGroup() as group:
        for second in range(scene.count):
            while due < second + 1:
                due += scene.chance.expovariate(_OVER * peak)
                await asyncio.sleep(max(0.0, start + due - loop.time()))
                group.create_task(one())
            scene.step()
    scene.notes.append(_summary(peak, asked, scene.count))


async def _peak(scene: Scene) -> float:
    """Right answers a second that the steady model gives to callers without a deadline."""
    right = 0
    ends = asyncio.get_running_loop().time() + _PEAK_SECONDS

    async def caller() -> None:
        nonlocal right
        while asyncio.get_running_loop().time() < ends:
            entry = await scene.callers.ask(scene.questions.good(STEADY))
            right += entry.outcome is Outcome.RIGHT

    async with asyncio.TaskGroup() as group:
        for _ in range(_PEAK_CALLERS):
            group.create_task(caller())
    return right / _PEAK_SECONDS


def _urgent(scene: Scene, expects: Collection[str]) -> Question:
    return scene.questions.good(STEADY, expects, {"x-deadline-ms": f"{1000 * _DEADLINE:.0f}"})


def _summary(peak: float, asked: list[Entry], seconds: int) -> str:
    right = [entry.seconds for entry in asked if entry.outcome is Outcome.RIGHT]
    refused = [entry.seconds for entry in asked if entry.outcome is Outcome.REFUSED]
    late = sum(time > _DEADLINE for time in right)
    return (
        f"overload: peak {peak:.0f}/s, {len(asked) / seconds:.0f}/s asked, {(len(right) - late) / seconds:.0f}/s right "
        f"in time, {late} right but late, p99 {1000 * _p99(right):.0f} ms, refusals in {1000 * _median(refused):.0f} ms"
    )


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[-1] if len(times) > 1 else 0.0


def _median(times: list[float]) -> float:
    return median(times) if times else 0.0
