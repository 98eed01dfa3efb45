"""One row at work: good requests all the time, faults planted among them, and the server's numbers at both ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from tests.chaos.callers import Callers
from tests.chaos.ledger import Ledger, disagreements
from tests.chaos.questions import APART, PLAIN, STEADY, TEXT, Questions, Vector
from tests.chaos.server import Numbers, Server

_CALLERS = {APART: 6, PLAIN: 4, STEADY: 1, TEXT: 2}
"""Callers in the background, for each model."""
_PAUSE = 0.015
"""Seconds between two requests of one of them, on average: load enough to meet every fault, room for others to run."""
_SETTLES = 30.0
_TICK = 0.05
STANDSTILL = 5.0
"""Seconds by which no timer of the driver is late, however busy the machine: a virtual machine that is paused."""
_BASE_SECONDS = 60.0
"""Seconds that a row may take, besides those of its faults."""


@dataclass(slots=True)
class Stage:
    """What all rows share. `step` is told of every fault that was planted."""

    server: Server
    seed: int
    texts: Sequence[tuple[str, Vector]]
    models: Sequence[str]
    step: Callable[[], None]


@dataclass(slots=True)
class Scene:
    """What the faults of a row have at hand. `chance`: the row's own, from the seed. `count`: faults to plant.

    `expects`: outcomes of good requests. `problems`: what went wrong besides the requests. `notes`: what was seen and
    is no fault. `standstill`: the longest time that the driver itself did not run, in seconds.
    """

    server: Server
    callers: Callers
    questions: Questions
    chance: Random
    count: int
    step: Callable[[], None]
    expects: Collection[str] = ("right",)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    standstill: float = 0.0

    async def some_time(self, most: float) -> None:
        """Waits for a random time."""
        await asyncio.sleep(self.chance.random() * most)

    async def plant(self, pause: float, make: Callable[[], Coroutine[None, None, object]]) -> None:
        """Starts `count` of them, at random times `pause` seconds apart on average, and waits for all."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.count):
                group.create_task(self._planted(make()))
                await asyncio.sleep(self.chance.expovariate(1 / pause))

    async def _planted(self, fault: Coroutine[None, None, object]) -> None:
        await fault
        self.step()


Faults = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row. `differences`: between the server's counters and the ledger. `standstill`: see `Scene`."""

    name: str
    ledger: Ledger
    differences: Sequence[str]
    problems: Sequence[str]
    notes: Sequence[str]
    standstill: float = 0.0

    @property
    def void(self) -> bool:
        """The machine was paused, so that deadlines passed with nobody to keep them: says nothing of the server."""
        return self.standstill > STANDSTILL

    @property
    def passed(self) -> bool:
        """Nothing wrong, lost, hung, doubled or unexpected, and the server counted the same."""
        return not [
            *self.ledger.surprises,
            *self.ledger.lost,
            *self.ledger.odd,
            *self.differences,
            *self.problems,
        ]


Play = Callable[["Row", Stage, int], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `count`: faults of the full run; `seconds`: that one of them may take."""

    name: str
    count: int
    seconds: float
    play: Play


def under_load(faults: Faults) -> Play:
    """Plays faults while good requests go to all models; whatever happens, it ends."""

    async def play(row: Row, stage: Stage, count: int) -> Result:
        scene = scene_of(row, stage, stage.server, count)
        before = await _settled(scene)
        async with background(scene, stage.models), awake(scene):
            await _planted(faults, scene, _BASE_SECONDS + row.seconds * count)
        await scene.callers.leave()
        counted = (await _settled(scene)).count
        counted.subtract(before.count)
        ledger = scene.callers.ledger
        differences = [*disagreements(ledger, counted)]
        return Result(row.name, ledger, differences, scene.problems, scene.notes, scene.standstill)

    return play


@asynccontextmanager
async def awake(scene: Scene) -> AsyncIterator[None]:
    """Measures how long this process itself stood still; where it did for long, the whole machine did."""
    clock = asyncio.get_running_loop().time
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            start = clock()
            await asyncio.sleep(_TICK)
            longest = max(longest, clock() - start - _TICK)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
        scene.standstill = max(scene.standstill, longest)


async def _settled(scene: Scene) -> Numbers:
    try:
        return await scene.server.settled(_SETTLES)
    except TimeoutError:
        scene.problems.append(f"the server did not settle in {_SETTLES:.0f} s: requests wait, or engines are gone")
        return await scene.server.numbers()


async def _planted(faults: Faults, scene: Scene, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await faults(scene)
    except TimeoutError:
        scene.problems.append(f"the row took more than {seconds:.0f} s and was stopped")
    except Exception as error:
        scene.problems.append(f"the row was not played to its end: {type(error).__name__}: {error}")


def scene_of(row: Row, stage: Stage, server: Server, count: int) -> Scene:
    """A scene with an empty ledger."""
    ledger = Ledger(f"{row.name.replace(' ', '_')}-{stage.seed}")
    callers = Callers(server.host, server.port, ledger)
    questions = Questions(Random(f"{stage.seed} {row.name} questions"), stage.texts)
    return Scene(server, callers, questions, Random(f"{stage.seed} {row.name}"), count, stage.step)


@asynccontextmanager
async def background(scene: Scene, models: Sequence[str]) -> AsyncIterator[None]:
    """Good requests to all models until the end of the block; then their answers are waited for."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for model in models:
            for number in range(_CALLERS[model]):
                chance = Random(f"{scene.callers.ledger.prefix} {model} {number}")
                make = lambda model=model: scene.questions.good(model, scene.expects)  # noqa: E731
                group.create_task(scene.callers.go_on(make, _PAUSE, chance, stop))
        try:
            yield
        finally:
            stop.set()
