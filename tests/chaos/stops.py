"""The row in which the server is told to stop, again and again, under load."""

import asyncio
from collections import Counter

from tests.chaos.callers import Callers
from tests.chaos.ledger import Count, disagreements
from tests.chaos.questions import APART, PLAIN
from tests.chaos.scene import Result, Row, Scene, Stage, awake, background, scene_of
from tests.chaos.server import DRAIN, Server, start

MODELS = (APART, PLAIN)
_AT_LEAST, _AT_MOST = 0.2, 1.0
"""Seconds of load before the signal."""
_TOLD_TWICE = 1 / 4
"""Share of servers that get a second SIGTERM, which ends the drain period early."""


async def stop_servers(row: Row, stage: Stage, count: int) -> Result:
    """SIGTERM to one server after the other; what each counted is read from its last words."""
    scene = scene_of(row, stage, stage.server, count)
    counted: Count = Counter()
    for _ in range(count):
        server = await start(stage.server.repository, MODELS)
        scene.callers = Callers(server.host, server.port, scene.callers.ledger)
        try:
            async with asyncio.timeout(row.seconds):
                counted += await _stop(scene, server)
        except TimeoutError:
            scene.problems.append(f"a server did not stop in {row.seconds:.0f} s")
        finally:
            server.kill()
        stage.step()
    ledger = scene.callers.ledger
    differences = [*disagreements(ledger, counted)]
    return Result(row.name, ledger, differences, scene.problems, scene.notes, scene.standstill)


async def _stop(scene: Scene, server: Server) -> Count:
    async with background(scene, MODELS), awake(scene):
        await asyncio.sleep(_AT_LEAST)
        await scene.some_time(_AT_MOST - _AT_LEAST)
        scene.callers.stopping = True
        server.tell_to_stop()
        if scene.chance.random() < _TOLD_TWICE:
            await scene.some_time(DRAIN)
            server.tell_to_stop()
        code, numbers, left = await server.ended()
    await scene.callers.leave()
    if code != 0:
        scene.problems.append(f"a server that was told to stop ended with code {code}")
    if left:
        scene.problems.append(f"engine processes outlived their server: {left}")
    return numbers.count
