"""Plays faults, one after the other, and tells what each cost."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.questions import PLAIN
from tests.conftest import serving
from tests.redis_faults.faults import FAULTS
from tests.redis_faults.load import Load, Phase
from tests.redis_server import RedisServer, redis_process

RECOVERS = 5.0
"""Seconds within which a Redis that is back must be used."""
_WARM_SECONDS = 2.0
_CONFIG = f"""name: "{PLAIN}"
backend: "identity"
max_batch_size: 16
input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }} ]
dynamic_batching {{ }}
response_cache {{ enable: true }}
parameters {{ key: "batchyard.identity.delay_ms" value {{ string_value: "2" }} }}
"""


@dataclass(frozen=True, slots=True)
class Result:
    """`recovery`: seconds from the end of the fault until what one gateway stores is found by the other."""

    name: str
    before: Phase
    during: Phase
    after: Phase
    recovery: float

    @property
    def errors(self) -> Sequence[str]:
        """Requests without a right answer, from before the fault until after it, in words."""
        return [*self.before.errors, *self.during.errors, *self.after.errors]

    @property
    def passed(self) -> bool:
        """No error, and all is as before in time."""
        return not self.errors and self.recovery <= RECOVERS


async def run(names: Sequence[str], seconds: float, rounds: int = 1) -> AsyncIterator[Result]:
    """Plays these faults for `seconds` each, after as many without; all of them, then all of them again."""
    with redis_process(**{"enable-debug-command": "yes"}) as redis, gateways(redis) as urls:
        load = Load(*urls)
        async with load.running():
            await asyncio.sleep(_WARM_SECONDS)
            for name in list(names) * rounds:
                yield await _play(name, redis, load, seconds)


@contextmanager
def gateways(redis: RedisServer) -> Iterator[tuple[str, str]]:
    """Two gateways with the same model and the same Redis; their addresses."""
    with tempfile.TemporaryDirectory(prefix="redis-faults-") as folder:
        model = Path(folder) / PLAIN
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(_CONFIG, "utf-8")
        settings = ["--model-repository", folder, "--models", PLAIN, "--routes", "{}", "--pipelines", "{}"]
        settings += ["--redis", json.dumps({"url": redis.url}), "--log-level", "error"]
        with serving(*settings) as first, serving(*settings) as second:
            yield first, second


async def _play(name: str, redis: RedisServer, load: Load, seconds: float) -> Result:
    loop = asyncio.get_running_loop()
    before = load.phase = Phase()
    await asyncio.sleep(seconds)
    async with FAULTS[name](redis):
        during = load.phase = Phase()
        await asyncio.sleep(seconds)
    healed = loop.time()
    after = load.phase = Phase()
    while loop.time() - healed < 2 * RECOVERS and not await load.shared():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return Result(name, before, during, after, loop.time() - healed)
