"""Several models on shared cores under random load: every request ends once, right or with a clean error."""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from engines.base import Outputs
from engines.batch import Batch
from engines.errors import EngineLostError, ExecutionError, InvalidInputError
from engines.model_config import DynamicBatching, QueuePolicy
from engines.tensor import FP32, Signature, TensorSpec
from service.batching.batcher import Batcher
from service.batching.compose import Composer, Composition, SingleComposer, StackComposer
from service.batching.cost import CostModel
from service.batching.pad import PadComposer
from service.batching.record import BatchRecord
from service.batching.replica import Identity, LocalReplica
from service.batching.ticket import Ticket
from service.cores import CoreBudget
from service.errors import BatchyardError, EngineFailedError, InvalidRequestError
from service.owner import open_owned
from service.types import InferRequest, InferResponse, Job

SEED = random.randrange(2**32)
SECONDS = 2.0
CORES = 2
LEVEL_BOUND = 10
POISON, BAD, SHORT, CRASH, KILL = -1.0, -2.0, -3.0, -4.0, -5.0
MISHAP = 0.02
"""How often a batch of many rows loses its engine for no reason of its own."""
WANTED: dict[float, tuple[type[BatchyardError], str]] = {
    POISON: (EngineFailedError, "poison"),
    BAD: (InvalidRequestError, "bad"),
    SHORT: (EngineFailedError, "rows"),
    CRASH: (EngineFailedError, "RuntimeError"),
    KILL: (EngineFailedError, "was lost"),
}
HARMLESS = {"QueueFullError", "DeadlineHopelessError", "DeadlineExceededError", "ModelUnavailableError"}


class Meter:
    """How many cores are in use; it must never be more than there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0
        self.most = 0

    def add(self, cores: int) -> None:
        with self._lock:
            self._used += cores
            self.most = max(self.most, self._used)


class Doubler:
    """Answers twice its input; some values fail the whole batch, each in its way."""

    signature = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("x", FP32, (-1,)),), 8)

    def __init__(self, cores: int, meter: Meter, seed: int) -> None:
        self._cores = cores
        self._meter = meter
        self._random = random.Random(seed)
        self._lost = False
        self.closed = 0

    def warm_up(self) -> None: ...

    def run(self, batch: Batch) -> Outputs:
        self._meter.add(self._cores)
        try:
            time.sleep(self._random.choice((0, 0.0005, 0.002)))
            return self._answer(batch.inputs["x"])
        finally:
            self._meter.add(-self._cores)

    def _answer(self, x: np.ndarray) -> Outputs:
        if (x == KILL).any() or (len(x) > 3 and self._random.random() < MISHAP):
            self._lost = True
        if self._lost:
            raise EngineLostError("the process was killed")
        if (x == POISON).any():
            raise ExecutionError("poison")
        if (x == BAD).any():
            raise InvalidInputError("bad")
        if (x == CRASH).any():
            raise RuntimeError("crash")
        return {"x": x[:-1] * 2 if (x == SHORT).any() else x * 2}

    def close(self) -> None:
        self.closed += 1


class Odd(StackComposer):
    """Cannot compose a batch that starts with 1,000 or more."""

    def compose(self, waiting: Sequence[Ticket], cost: CostModel, now: float) -> Composition:
        if waiting[0].tensors["x"][0, 0] >= 1000:
            raise ValueError("odd")
        return super().compose(waiting, cost, now)


@dataclass
class World:
    """Everything of one run."""

    seed: int
    cores: CoreBudget = field(default_factory=lambda: CoreBudget(CORES))
    meter: Meter = field(default_factory=Meter)
    engines: list[Doubler] = field(default_factory=list)
    replicas: list[LocalReplica] = field(default_factory=list)
    batchers: list[Batcher] = field(default_factory=list)
    records: list[BatchRecord] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)

    def open(self, name: str, threads: int, instances: int, composer: Composer, settings: DynamicBatching) -> None:
        forge = partial(self.forge, min(threads, CORES))
        owned = [open_owned(f"stress-{name}-{n}", forge) for n in range(instances)]
        batcher = Batcher(composer, CostModel(), 40, instances, settings)
        identity = Identity(name, "1", "doubler", threads)
        self.replicas.append(LocalReplica(identity, owned, batcher, self.cores, time.monotonic, self.records.append))
        self.batchers.append(batcher)

    def forge(self, cores: int) -> Doubler:
        self.engines.append(Doubler(cores, self.meter, self.seed + len(self.engines)))
        return self.engines[-1]

    def count(self, outcome: str) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


def open_models(world: World) -> None:
    sequences = frozenset({"x"})
    world.open("narrow", 1, 2, StackComposer(8), DynamicBatching())
    world.open("wide", 2, 1, PadComposer(8, {"x": 0}, sequences), DynamicBatching(max_queue_delay_microseconds=1000))
    world.open("device", 0, 2, SingleComposer(8), DynamicBatching(preserve_ordering=True))
    levels = {1: QueuePolicy("REJECT", 4000, max_queue_size=LEVEL_BOUND), 2: QueuePolicy("DELAY", 2000)}
    settings = DynamicBatching(priority_levels=2, default_priority_level=2, priority_queue_policies=levels)
    world.open("levels", 3, 1, StackComposer(8, preferred=(2, 4)), settings)
    world.open("odd", 1, 1, Odd(8), DynamicBatching())


def make_job(dice: random.Random) -> Job:
    count = dice.choice((1, 1, 1, 2, 5, 12))
    rows, length = dice.choice((1, 1, 3)) if count == 1 else 1, dice.choice((1, 2, 5))
    parts = [{"x": dice_row(dice, rows, length)} for _ in range(count)]
    deadline = time.monotonic() + dice.choice((0.0005, 0.004, 0.02, 0.3, 5.0, float("inf")))
    request = InferRequest("stress", {}, deadline=deadline, priority=dice.randrange(4))
    return Job(request, parts, [rows] * count, rows)


def dice_row(dice: random.Random, rows: int, length: int) -> np.ndarray:
    value = dice.choice([float(dice.randrange(1, 1100))] * 60 + [POISON, BAD, SHORT, CRASH, KILL])
    return np.full((rows, length), value, np.float32)


async def ask(world: World, replica: LocalReplica, job: Job) -> None:
    try:
        response = await replica.infer(job)
    except BatchyardError as error:
        check_error(replica.identity.model, job, error)
        world.count(type(error).__name__)
    except asyncio.CancelledError:
        world.count("cancelled")
    else:
        check_answer(job, response)
        world.count("answered")


def values_of(job: Job) -> set[float]:
    return {float(part["x"][0, 0]) for part in job.parts}


def check_answer(job: Job, response: InferResponse) -> None:
    assert not values_of(job) & WANTED.keys(), values_of(job)
    np.testing.assert_array_equal(response.outputs["x"], np.concatenate([part["x"] for part in job.parts]) * 2)


def check_error(model: str, job: Job, error: BatchyardError) -> None:
    """An error is about this request, never about a neighbour's row."""
    if type(error).__name__ in HARMLESS:
        return
    reasons = [WANTED[value] for value in values_of(job) & WANTED.keys()]
    if model == "odd" and any(value >= 1000 for value in values_of(job)):
        reasons.append((EngineFailedError, "odd"))
    if model == "levels" and len(job.parts) > LEVEL_BOUND:
        reasons.append((InvalidRequestError, "12 parts"))
    assert any(isinstance(error, kind) and text in str(error) for kind, text in reasons), (error, values_of(job))


async def load(world: World, dice: random.Random) -> int:
    """Random requests, random leavers; two models close while they are asked. Returns how many were made."""
    tasks: list[asyncio.Task[None]] = []
    closing: list[asyncio.Task[None]] = []
    start = time.monotonic()
    while (passed := time.monotonic() - start) < SECONDS:
        asked = range(dice.randrange(1, 12))
        tasks += [asyncio.create_task(ask(world, dice.choice(world.replicas), make_job(dice))) for _ in asked]
        if dice.random() < 0.5:
            dice.choice(tasks[-60:]).cancel()
        if len(closing) < 2 and passed > SECONDS * (0.4 + 0.2 * len(closing)):
            grace = dice.choice((0.0, 0.001, 5.0))
            closing.append(asyncio.create_task(world.replicas[1 + len(closing)].close(grace)))
        await asyncio.sleep(dice.choice((0, 0.001, 0.003)))
    closing += [asyncio.create_task(replica.close(10.0)) for replica in world.replicas]
    async with asyncio.timeout(20):
        await asyncio.gather(*closing)
        await asyncio.wait(tasks)
    started = [task for task in tasks if not task.cancelled()]
    for task in started:
        task.result()
    return len(started)


@pytest.fixture
def seed() -> int:
    """A new one each run; pytest shows it where the test fails."""
    print(f"seed {SEED}: set SEED in {__name__} to it")
    return SEED


def test_every_request_ends_once_and_nothing_is_left(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "batchyard.batching")
    world = World(seed)

    async def run() -> int:
        open_models(world)
        return await load(world, random.Random(seed))

    made = asyncio.run(run())
    assert sum(world.outcomes.values()) == made
    assert world.outcomes["answered"] > 0
    assert sum(replica.faults.restarts for replica in world.replicas) > 0
    assert [len(batcher) for batcher in world.batchers] == [0] * len(world.batchers)
    assert [engine.closed for engine in world.engines] == [1] * len(world.engines)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("stress-")]
    assert world.meter.most <= CORES
    all_cores = threading.Thread(target=world.cores.acquire, args=(CORES,), daemon=True)
    all_cores.start()
    all_cores.join(10)
    assert not all_cores.is_alive()
