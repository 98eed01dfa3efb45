"""A whole run: one server, row after row, and its memory, descriptors and processes compared at the end."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engines.build.texts import made_up_texts
from tests.chaos.caller_faults import disconnect, overload, slow_callers
from tests.chaos.callers import Callers
from tests.chaos.engine_faults import (
    exit_rows,
    hang_workers,
    kill_all_workers,
    kill_workers,
    nan_rows,
    poison_rows,
    reload_models,
)
from tests.chaos.ledger import Ledger
from tests.chaos.questions import NO_HEADERS, TEXT, Question, Vector, text_body, vector_of
from tests.chaos.repository import write_repository
from tests.chaos.scene import Result, Row, Stage, under_load
from tests.chaos.server import Numbers, Server, start
from tests.chaos.stops import stop_servers

ROWS = (
    Row("worker killed", 50, 8, under_load(kill_workers)),
    Row("all killed", 10, 10, under_load(kill_all_workers)),
    Row("worker hung", 10, 20, under_load(hang_workers)),
    Row("poison rows", 200, 0.5, under_load(poison_rows)),
    Row("exit rows", 10, 10, under_load(exit_rows)),
    Row("NaN rows", 200, 0.5, under_load(nan_rows)),
    Row("reload", 20, 10, under_load(reload_models)),
    Row("SIGTERM", 20, 40, stop_servers),
    Row("disconnects", 5000, 0.05, under_load(disconnect)),
    Row("slow clients", 200, 0.5, under_load(slow_callers)),
    Row("overload x3", 20, 4, under_load(overload)),
)
"""The full run; counts are faults, for overload seconds."""

TEXTS = 32
_WARM_SECONDS = 3.0
"""Seconds of load before memory is looked at for the first time: pools and caches fill."""
_MORE_MEMORY = 100e6
"""Bytes by which the server may have grown over all rows: allocators keep what bursts of 4.5 MB answers took."""
_MORE_FILES = 5
_ENDS = 30.0
_TRIES = 3
"""How often a row is played at most; the last time counts, whatever the machine did."""


async def run(rows: Sequence[Row], scale: float, seed: int, console: Console) -> list[Result]:
    """Plays `rows`, each with `scale` of its faults; the last result is of the server as a whole."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        names = write_repository(Path(folder) / "repository")
        server = await start(Path(folder) / "repository", names)
        try:
            return await _play_all(rows, scale, seed, server, names, console)
        finally:
            server.kill()


async def _play_all(
    rows: Sequence[Row], scale: float, seed: int, server: Server, names: Sequence[str], console: Console
) -> list[Result]:
    texts = await _texts(server) if TEXT in names else []
    stage = Stage(server, seed, texts, names, lambda: None)
    warm = Row("warm-up", 0, 0, under_load(lambda _: asyncio.sleep(_WARM_SECONDS)))
    results = [await warm.play(warm, stage, 0)]
    before = await server.settled(_ENDS)
    for row in rows:
        count = max(2, round(row.count * scale))
        results.append(await _played(row, stage, count, console))
    results.append(await _at_the_end(stage, before))
    return results


async def _played(row: Row, stage: Stage, count: int, console: Console) -> Result:
    """A row that the machine slept through is played again, with the same faults."""
    for _ in range(_TRIES):
        with _progress(row.name, count, console) as stage.step:
            result = await row.play(row, stage, count)
        if not result.void:
            break
        console.print(f"{row.name}: the machine stood still for {result.standstill:.0f} s, so it is played again")
    return result


@contextmanager
def _progress(name: str, count: int, console: Console) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=count)
        yield lambda: progress.advance(task)


async def _texts(server: Server) -> list[tuple[str, Vector]]:
    """Each text with the vector that it gets while nothing else runs."""
    callers = Callers(server.host, server.port, Ledger("alone"))
    made: list[tuple[str, Vector]] = []
    for text in made_up_texts(TEXTS, seed=1):
        vectors: list[Vector] = []
        keep = lambda answer, vectors=vectors: not vectors.append(vector_of(answer))  # noqa: E731
        await callers.ask(Question(TEXT, text_body(text), keep, ("right",), NO_HEADERS))
        made.append((text, vectors[0]))
    await callers.leave()
    return made


async def _at_the_end(stage: Stage, before: Numbers) -> Result:
    """Stops the server; its memory and descriptors must be back, its count of all requests in order, nothing left."""
    problems = []
    try:
        after = await stage.server.settled(_ENDS)
    except TimeoutError:
        problems.append("the server does not come to rest: requests wait, or engines are gone")
        after = await stage.server.numbers()
    grown, files = after.memory - before.memory, after.files - before.files
    if grown > _MORE_MEMORY:
        problems.append(f"the server's memory grew by {grown / 1e6:.0f} MB")
    if files > _MORE_FILES:
        problems.append(f"the server holds {files:.0f} more file descriptors than before")
    stage.server.tell_to_stop()
    code, _, left = await stage.server.ended()
    if code != 0:
        problems.append(f"the server ended with code {code}")
    if left:
        problems.append(f"engine processes outlived the server: {left}")
    note = f"server: memory {grown / 1e6:+.0f} MB, file descriptors {files:+.0f}"
    return Result("end of server", Ledger("end"), [], problems, [note])
