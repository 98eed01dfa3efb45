"""Models loaded anew and unloaded while they serve."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.build.manifest import Origin, describe, write_manifest
from service.errors import LoadFailedError, ModelUnavailableError, NotFoundError
from service.gateway import Gateway
from service.routing.policies import ordered
from service.routing.route import Route
from service.types import InferRequest
from tests.service.test_runtime import ENSEMBLE, IDENTITY, Write, request, started

DELAY = 'parameters {{ key: "batchyard.identity.delay_ms" value {{ string_value: "{}" }} }}'


def rewrite(root: Path, name: str, config: str) -> None:
    (root / name / "config.pbtxt").write_text(config)


def versions(gateway: Gateway, name: str) -> tuple[str, ...]:
    return gateway.model(name).versions


async def test_versions_that_came_and_went_are_noticed(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + "version_policy { all { } }", "1", "2")
    async with started(tmp_path) as (runtime, gateway):
        shutil.rmtree(tmp_path / "first" / "1")
        (tmp_path / "first" / "3").mkdir()
        assert versions(gateway, "first") == ("1", "2")
        await runtime.load("first")
        assert versions(gateway, "first") == ("2", "3")
        assert (await gateway.infer(request("first"))).version == "3"
        with pytest.raises(NotFoundError, match="no version '1'"):
            await gateway.infer(request("first", version="1"))


async def test_a_model_that_was_not_there_at_the_start_is_loaded(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(tmp_path) as (runtime, gateway):
        write("second", IDENTITY.format(dims=2))
        await runtime.load("second")
        assert (await gateway.infer(request("second"))).model == "second"


async def test_what_is_in_hand_is_answered_by_the_old_one(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + DELAY.format(300))
    async with started(tmp_path) as (runtime, gateway):
        old = asyncio.gather(*(gateway.infer(request("first")) for _ in range(20)))
        await asyncio.sleep(0.05)
        rewrite(tmp_path, "first", IDENTITY.format(dims=2))
        await runtime.load("first")
        new = await gateway.infer(request("first"))
        assert new.timing.compute < 0.25
        assert all(response.timing.compute >= 0.25 for response in await old)


async def test_what_a_caller_began_who_leaves_is_done_to_its_end(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(tmp_path, names=("first",)) as (runtime, _):
        write("second", IDENTITY.format(dims=2))
        leaving = asyncio.create_task(runtime.load("second"))
        await asyncio.sleep(0)
        leaving.cancel()
        async with asyncio.timeout(10):
            while "second" not in runtime.named:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert leaving.cancelled()
        assert runtime.catalog.newest("second")


@pytest.mark.parametrize(
    ("config", "why"), [("max_batch_size: minus one", "config.pbtxt"), ('backend: "unheard_of"', "unheard_of")]
)
async def test_a_failed_load_keeps_the_old_one(tmp_path: Path, write: Write, config: str, why: str) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(tmp_path) as (runtime, gateway):
        rewrite(tmp_path, "first", config + IDENTITY.format(dims=2).replace('backend: "identity"', ""))
        with pytest.raises(LoadFailedError, match=f"'first' was not loaded, what was .* version 1: .*{why}"):
            await runtime.load("first")
        assert gateway.model("first").ready
        assert (await gateway.infer(request("first"))).outputs["OUTPUT0"].tolist() == [[1, 2]]
        rewrite(tmp_path, "first", IDENTITY.format(dims=2))
        await runtime.load("first")
        assert (await gateway.infer(request("first"))).version == "1"


async def test_files_that_are_not_those_of_the_manifest_are_not_loaded(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    weights = tmp_path / "first" / "1" / "weights.bin"
    async with started(tmp_path) as (runtime, gateway):
        weights.write_bytes(b"as built")
        write_manifest(weights.parent, describe(weights.parent, Origin({}, {}, {}, "")))
        await runtime.load("first")
        weights.write_bytes(b"as sent by somebody")
        with pytest.raises(LoadFailedError, match=r"what was .* version 1: 'weights.bin' in '1' is not the file that"):
            await runtime.load("first")
        assert (await gateway.infer(request("first"))).outputs["OUTPUT0"].tolist() == [[1, 2]]


async def test_a_model_that_never_opened_says_why_it_still_does_not(tmp_path: Path, write: Write) -> None:
    write("first", 'backend: "first_reason"')
    async with started(tmp_path) as (runtime, gateway):
        rewrite(tmp_path, "first", "second_reason")
        with pytest.raises(LoadFailedError, match=r"'first' was not loaded: .*second_reason"):
            await runtime.load("first")
        assert "second_reason" in gateway.model("first").reason
        rewrite(tmp_path, "first", IDENTITY.format(dims=2))
        await runtime.load("first")
        assert gateway.model("first").ready


async def test_an_unloaded_model_says_so_and_can_be_loaded(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + DELAY.format(200))
    async with started(tmp_path) as (runtime, gateway):
        held = asyncio.create_task(gateway.infer(request("first")))
        await asyncio.sleep(0.05)
        await runtime.unload("first")
        with pytest.raises(ModelUnavailableError, match="it was unloaded; POST /v2/repository/models/first/load"):
            await gateway.infer(request("first"))
        assert not gateway.model("first").ready
        assert (await held).outputs["OUTPUT0"].tolist() == [[1, 2]]
        await runtime.load("first")
        assert (await gateway.infer(request("first"))).version == "1"


async def test_ensembles_and_routes_see_the_new_one(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE)
    async with started(tmp_path, Route("both", ("first",), ordered)) as (runtime, gateway):
        (tmp_path / "first" / "2").mkdir()
        for name in ("first", "second", "chain"):
            await runtime.load(name)
        assert (await gateway.infer(request("both"))).version == "2"
        assert (await gateway.infer(request("chain", "IN"))).outputs["OUT"].tolist() == [[1, 2]]


async def test_a_route_leaves_out_a_variant_that_comes_back_with_other_tensors(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    async with started(tmp_path, Route("both", ("first", "second"), ordered)) as (runtime, gateway):
        rewrite(tmp_path, "first", IDENTITY.format(dims=3))
        await runtime.load("first")
        assert (await gateway.infer(request("both"))).model == "second"
        rewrite(tmp_path, "first", IDENTITY.format(dims=2))
        await runtime.load("first")
        assert (await gateway.infer(request("both"))).model == "first"


async def test_names_that_are_no_models_of_the_repository(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(tmp_path, Route("both", ("first",), ordered)) as (runtime, _):
        for change in (runtime.load, runtime.unload):
            with pytest.raises(NotFoundError, match="'both' is a route or pipeline"):
                await change("both")
            with pytest.raises(NotFoundError, match=r"'\.\./first'"):
                await change("../first")


async def test_an_ensemble_that_would_call_itself_is_not_loaded(tmp_path: Path, write: Write) -> None:
    write("second", IDENTITY.format(dims=2))
    write("both", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE)
    async with started(tmp_path) as (runtime, gateway):
        rewrite(tmp_path, "both", ENSEMBLE.replace('"both"', '"chain"').replace("INPUT0", "IN", 1))
        with pytest.raises(LoadFailedError, match="calls itself"):
            await runtime.load("both")
        assert (await gateway.infer(request("chain", "IN"))).outputs["OUT"].tolist() == [[1, 2]]


async def test_loads_under_load_fail_no_request(tmp_path: Path, write: Write) -> None:
    """Loads and unloads of one model at once are done one after the other."""
    write("first", IDENTITY.format(dims=-1))
    async with started(tmp_path) as (runtime, gateway):
        over = asyncio.Event()

        async def ask(number: int) -> int:
            asked = 0
            while not over.is_set():
                value = np.array([[number, asked]], np.float32)
                response = await gateway.infer(InferRequest("first", {"INPUT0": value}))
                assert response.outputs["OUTPUT0"].tolist() == value.tolist()
                asked += 1
            return asked

        callers = [asyncio.create_task(ask(number)) for number in range(8)]
        await asyncio.gather(*(runtime.load("first") for _ in range(3)))
        over.set()
        assert min(await asyncio.gather(*callers)) > 0
