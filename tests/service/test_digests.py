"""Answers are those of the files that lie there: a model that is loaded anew with others is asked anew."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from engines.digest import digest_of_files
from engines.repository import read_config
from service.cache.levels import Caching, Kept
from service.cache.memory import Memory
from service.catalog import Catalog
from service.cores import CoreBudget
from service.digests import Digests
from service.gateway import Gateway
from service.opening import Machine
from service.routing.policies import ordered
from service.routing.route import Route
from service.routing.rules import Rule
from service.runtime import Runtime
from service.telemetry.metrics import Metrics
from service.types import Hints
from tests.service.test_runtime import ENSEMBLE, IDENTITY, Write, request

CACHED = "response_cache { enable: true }"
BOTH = Route("both", ("first",), ordered)


@asynccontextmanager
async def started(root: Path) -> AsyncIterator[tuple[Runtime, Gateway, Digests]]:
    catalog = Catalog(routes={"both": BOTH})
    metrics, clock = Metrics(), time.monotonic
    memory: Memory[Kept] = Memory(2**20, time.time)
    gateway = Gateway(catalog, metrics, clock, caching=Caching(memory, 2**16, 60.0, time.time))
    runtime = Runtime(catalog, Machine(CoreBudget(2), 2, clock, 100), metrics, gateway, lambda *_: None)
    await runtime.start([root], ())
    try:
        yield runtime, gateway, Digests(catalog)
    finally:
        await runtime.stop(5.0)


async def verdict(gateway: Gateway, model: str, name: str = "INPUT0") -> str:
    return (await gateway.infer(request(model, name))).cached.verdict


async def test_a_reload_with_other_files_is_asked_anew_and_one_with_the_same_is_not(
    tmp_path: Path, write: Write
) -> None:
    write("first", IDENTITY.format(dims=2) + CACHED)
    (tmp_path / "first" / "1" / "weights").write_bytes(b"one")
    async with started(tmp_path) as (runtime, gateway, _):
        assert await verdict(gateway, "first") == "miss"
        await runtime.load("first")
        assert await verdict(gateway, "first") == "hit"
        (tmp_path / "first" / "1" / "weights").write_bytes(b"two")
        await runtime.load("first")
        assert await verdict(gateway, "first") == "miss"
        (tmp_path / "first" / "1" / "weights").write_bytes(b"one")
        await runtime.load("first")
        assert await verdict(gateway, "first") == "hit"


async def test_an_ensemble_is_asked_anew_when_a_step_of_it_changed(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    write("ensemble", ENSEMBLE + CACHED)
    async with started(tmp_path) as (runtime, gateway, _):
        assert [await verdict(gateway, "ensemble", "IN") for _ in range(2)] == ["miss", "hit"]
        for step in ("second", "first"):
            (tmp_path / step / "1" / "weights").write_bytes(b"other")
            await runtime.load(step)
            assert [await verdict(gateway, "ensemble", "IN") for _ in range(2)] == ["miss", "hit"]


async def test_an_ensemble_has_other_answers_where_the_rules_of_a_route_behind_it_say_so(
    tmp_path: Path, write: Write
) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    write("ensemble", ENSEMBLE + CACHED)
    async with started(tmp_path) as (runtime, gateway, _):

        async def asked(**headers: bytes) -> str:
            hints = Hints({name.encode(): value for name, value in headers.items()})
            return (await gateway.infer(replace(request("ensemble", "IN"), hints=hints))).cached.verdict

        assert [await asked(tier=b"gold"), await asked(tier=b"tin")] == ["miss", "hit"]
        rule = Rule("gold", frozenset({"first"}), headers={b"tier": b"gold"})
        runtime.catalog.narrow(replace(BOTH, rules=(rule,)))
        found = [await asked(tier=b"gold"), await asked(tier=b"tin"), await asked(), await asked(tier=b"gold")]
        assert found == ["miss", "miss", "miss", "hit"]


async def test_two_processes_agree_and_what_no_cache_asks_is_not_read(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    write("ensemble", ENSEMBLE + CACHED)
    write("apart", IDENTITY.format(dims=2))
    found = []
    for _ in range(2):
        async with started(tmp_path) as (_, _, digests):
            found.append([digests.of(name) for name in ("ensemble", "first", "both", "apart")])
    assert found[0][:3] == found[1][:3]
    assert found[0][3] != found[1][3]


def test_a_digest_covers_the_version_and_what_all_versions_share(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2), "1", "2")
    folder = tmp_path / "first"
    config = read_config(folder)
    places = ["1/a", "labels.txt", "assets/b", "2/a"]
    found = [digest_of_files(config, folder, "1")]
    for place in places:
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"x")
        found.append(digest_of_files(config, folder, "1"))
    assert len(set(found)) == 4
    assert found[3] == found[4]
    (folder / "1" / "a").rename(folder / "1" / "b")
    assert digest_of_files(config, folder, "1") != found[4]


def test_a_folder_that_is_linked_to_counts_and_a_loop_ends(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    folder = tmp_path / "first"
    config = read_config(folder)
    (folder / "shared").mkdir()
    os.symlink(folder / "shared", folder / "1" / "linked")
    os.symlink(folder, folder / "1" / "loop")
    before = digest_of_files(config, folder, "1")
    (folder / "shared" / "file").write_bytes(b"x")
    assert digest_of_files(config, folder, "1") != before
