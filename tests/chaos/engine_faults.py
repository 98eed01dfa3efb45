"""Faults of engines: processes killed and stopped from outside, rows that break a batch, models loaded anew."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.chaos.ledger import Outcome
from tests.chaos.questions import APART, PLAIN
from tests.chaos.repository import BROKEN
from tests.chaos.scene import Scene

_COMES_LATER = 0.5
"""Seconds after which a row at fault that was refused, since nothing could run it, is sent again."""
_COMES_BACK = 30.0
"""Seconds in which a process that ended must be there again."""
_REFUSABLE = ("right", "refused")
"""Of good requests where every process of a model may be gone for a moment."""
_SINGLE = ("fail_on_value", "wrong_rows_on_value", "crash_on_value", "memory_on_value")
"""Faults of a row that its engine survives."""


async def kill_workers(scene: Scene) -> None:
    """SIGKILL to one engine process at a time, at random times; the next one once all serve again."""
    for _ in range(scene.count):
        owed = await scene.server.owed_restarts()
        await scene.some_time(0.3)
        chosen = [scene.chance.choice(_engines(scene))]
        _signal(chosen, signal.SIGKILL)
        await _replaced(scene, chosen, owed)
        scene.step()


async def kill_all_workers(scene: Scene) -> None:
    """SIGKILL to all engine processes at once: callers may be refused until one serves again, and told when that is."""
    scene.expects = _REFUSABLE
    for _ in range(scene.count):
        owed = await scene.server.owed_restarts()
        await scene.some_time(0.3)
        chosen = _engines(scene)
        _signal(chosen, signal.SIGKILL)
        await _replaced(scene, chosen, owed)
        scene.step()


async def hang_workers(scene: Scene) -> None:
    """By turns a process is stopped by SIGSTOP, and a row makes its engine hang; the watchdog must end both."""
    for number in range(scene.count):
        owed = await scene.server.owed_restarts()
        await scene.some_time(0.3)
        chosen: list[int] = []
        if number % 2:
            scene.expects = _REFUSABLE
            await scene.callers.ask(scene.questions.bad(APART, "hang_on_value"))
        else:
            chosen = [scene.chance.choice(_engines(scene))]
            _signal(chosen, signal.SIGSTOP)
        await _replaced(scene, chosen, owed)
        scene.expects = ("right",)
        scene.step()


def _engines(scene: Scene) -> list[int]:
    owned = scene.server.engine_ids()
    if not owned:
        raise RuntimeError("no engine process is left to plant a fault in")
    return owned


def _signal(processes: Sequence[int], number: signal.Signals) -> None:
    for pid in processes:
        os.kill(pid, number)


async def _replaced(scene: Scene, gone: Sequence[int], owed: float) -> None:
    try:
        async with asyncio.timeout(_COMES_BACK):
            await scene.server.replaced(gone, owed)
    except TimeoutError:
        scene.problems.append(f"not all engines serve again {_COMES_BACK:.0f} s after {gone or 'a row'} was the end")
        _signal([*set(gone) & set(scene.server.engine_ids())], signal.SIGKILL)


def poison(faults: Sequence[str], models: Sequence[str], pause: float) -> Callable[[Scene], Awaitable[None]]:
    """Rows at fault, `pause` seconds apart; one in four comes again, word for word, while it is quarantined."""

    async def plant(scene: Scene) -> None:
        async def one() -> None:
            expects = {"clean error", *scene.expects} - {"right"}
            question = scene.questions.bad(scene.chance.choice(models), scene.chance.choice(faults), expects)
            again = scene.chance.random() < 1 / 4
            for _ in range(2 if again else 1):
                while (await scene.callers.ask(question)).outcome is Outcome.REFUSED:  # noqa: ASYNC110
                    await asyncio.sleep(_COMES_LATER)

        await scene.plant(pause, one)

    return plant


poison_rows = poison(_SINGLE, (APART, PLAIN), 0.03)
nan_rows = poison(("nan_on_value",), (APART, PLAIN), 0.03)
_exit_rows = poison(("exit_on_value",), (APART,), 1.0)


async def exit_rows(scene: Scene) -> None:
    """Rows that end the process they run in. While none is left of a model's, callers are refused, and told when to
    come back."""
    scene.expects = _REFUSABLE
    await _exit_rows(scene)


async def reload_models(scene: Scene) -> None:
    """A model at a time is loaded anew; one in four times its config is broken, and the old one must stay."""
    for number in range(scene.count):
        await scene.some_time(0.3)
        model = scene.chance.choice((APART, PLAIN))
        if number % 4 == 3:
            await _load_broken(scene, model)
        else:
            answer = await scene.server.control(model, "load")
            if answer.status_code != 200:
                scene.problems.append(f"loading {model} anew: {answer.status_code} {answer.text[:300]}")
        scene.step()


async def _load_broken(scene: Scene, model: str) -> None:
    config = scene.server.repository / model / "config.pbtxt"
    good = config.read_text("utf-8")
    _write(config, BROKEN)
    try:
        answer = await scene.server.control(model, "load")
    finally:
        _write(config, good)
    if answer.status_code < 400 or len(answer.text) < len("error"):
        scene.problems.append(f"loading {model} from a broken config: {answer.status_code} {answer.text[:300]}")


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
