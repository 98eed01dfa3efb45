"""A small round of slowhttptest in each of its modes: good requests go on, and the slow are shown out."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.chaos.slow import CALLERS, MISSING, MODES, ask_well, attack, is_available, open_sockets, url_of
from tests.e2e.processes import IDENTITY, Server, serving, write_model

CONNECTIONS, SECONDS = 40, 20
HELD = [mode for mode in MODES if mode != "ranges"]
"""Modes that hold connections open: one with many ranges is answered at once, as if it had none."""
LIMITS = '{"head_seconds": 1, "body_seconds": 1, "min_body_rate": 100000, "idle_seconds": 2, "write_seconds": 2}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("slow")
    write_model(folder / "models", "identity", IDENTITY)
    with serving(folder, folder / "models", "--limits", LIMITS) as server:
        yield server


@pytest.mark.skipif(not is_available(), reason=MISSING)
@pytest.mark.parametrize("mode", HELD)
async def test_the_slow_are_shown_out_and_the_good_served(server: Server, mode: str) -> None:
    over = asyncio.Event()
    before = open_sockets(server.process.pid)
    asking = asyncio.ensure_future(ask_well(url_of(server), over))
    running = asyncio.ensure_future(attack(url_of(server), mode, CONNECTIONS, SECONDS))
    most, now = 0, before
    while not running.done() and (most < before + CONNECTIONS // 2 or now > before + CALLERS):
        await asyncio.wait({running}, timeout=0.05)
        now = open_sockets(server.process.pid)
        most = max(most, now)
    shown_out = not running.done()
    await running
    over.set()
    good = await asking
    assert most > before + CONNECTIONS // 2, "there was no attack"
    assert shown_out or now <= before + CALLERS
    assert good.wrong == []
    assert good.seconds
