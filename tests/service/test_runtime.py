"""Repositories opened for real: models, routes, ensembles, and what cannot be opened."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from engines.errors import ModelLoadError
from service.catalog import Catalog, Route
from service.cores import CoreBudget
from service.errors import InvalidRequestError, ModelUnavailableError, NotFoundError
from service.gateway import Gateway
from service.opening import Machine
from service.routing.policies import fastest, ordered
from service.runtime import Runtime
from service.telemetry.metrics import Metrics
from service.types import InferRequest

IDENTITY = """
backend: "identity" max_batch_size: 8 dynamic_batching {{ }}
input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
"""
ENSEMBLE = """
platform: "ensemble" max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 2 ] } ]
ensemble_scheduling { step [
  { model_name: "both" model_version: -1
    input_map { key: "INPUT0" value: "IN" } output_map { key: "OUTPUT0" value: "MIDDLE" } },
  { model_name: "second" model_version: -1
    input_map { key: "INPUT0" value: "MIDDLE" } output_map { key: "OUTPUT0" value: "OUT" } } ] }
"""

Write = Callable[..., None]


@asynccontextmanager
async def opened(root: Path, *routes: Route, names: tuple[str, ...] = ()) -> AsyncIterator[Gateway]:
    async with started(root, *routes, names=names) as (_, gateway):
        yield gateway


@asynccontextmanager
async def started(root: Path, *routes: Route, names: tuple[str, ...] = ()) -> AsyncIterator[tuple[Runtime, Gateway]]:
    catalog = Catalog(routes={route.name: route for route in routes})
    metrics = Metrics()
    gateway = Gateway(catalog, metrics, time.monotonic)
    machine = Machine(CoreBudget(2), 2, time.monotonic, 100)
    runtime = Runtime(catalog, machine, metrics, gateway, lambda *_: None)
    await runtime.start([root], names)
    try:
        yield runtime, gateway
    finally:
        await runtime.stop(5.0)


def request(model: str, name: str = "INPUT0", version: str = "") -> InferRequest:
    return InferRequest(model, {name: np.array([[1, 2]], np.float32)}, version=version)


async def test_a_model_answers_by_each_of_its_versions(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + "version_policy { all { } }", "1", "3")
    async with opened(tmp_path) as gateway:
        assert (await gateway.infer(request("first"))).version == "3"
        assert (await gateway.infer(request("first", version="1"))).version == "1"
        assert gateway.model("first").versions == ("1", "3")
        with pytest.raises(NotFoundError, match="no version '2'; served are 1, 3"):
            await gateway.infer(request("first", version="2"))


async def test_a_route_answers_by_its_first_ready_variant(tmp_path: Path, write: Write) -> None:
    write("first", 'backend: "unheard_of"' + IDENTITY.format(dims=2).replace('backend: "identity"', ""))
    write("second", IDENTITY.format(dims=2))
    async with opened(tmp_path, Route("both", ("first", "second"), ordered)) as gateway:
        response = await gateway.infer(request("both"))
        assert response.model == "second"
        assert gateway.model("both").variants == ("first", "second")
        assert gateway.model("both").ready


async def test_the_fastest_policy_takes_the_shortest_queue(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    async with opened(tmp_path, Route("both", ("first", "second"), fastest)) as gateway:
        assert (await gateway.infer(request("both"))).model in ("first", "second")


async def test_an_ensemble_runs_its_steps_through_routes_and_models(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE)
    async with opened(tmp_path, Route("both", ("first",), ordered)) as gateway:
        response = await gateway.infer(request("chain", "IN"))
        assert response.outputs["OUT"].tolist() == [[1, 2]]
        assert response.engine == "identity+identity"
        assert gateway.model("chain").ready


async def test_an_ensemble_is_not_ready_without_its_steps(tmp_path: Path, write: Write) -> None:
    write("second", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE)
    async with opened(tmp_path) as gateway:
        assert not gateway.model("chain").ready
        with pytest.raises(ModelUnavailableError, match="'chain' is unavailable: unknown model 'both'"):
            await gateway.infer(request("chain", "IN"))


async def test_an_ensemble_that_calls_itself_is_not_opened(tmp_path: Path, write: Write) -> None:
    write("second", IDENTITY.format(dims=2))
    write("chain", ENSEMBLE)
    async with opened(tmp_path, Route("both", ("chain",), ordered)) as gateway:
        assert "calls itself" in gateway.model("chain").reason
        assert gateway.model("second").ready


async def test_a_bad_model_is_listed_with_its_reason_and_stops_no_other(tmp_path: Path, write: Write) -> None:
    write("bad", "max_batch_size: minus one")
    write("good", IDENTITY.format(dims=2))
    async with opened(tmp_path) as gateway:
        assert (await gateway.infer(request("good"))).outputs["OUTPUT0"].tolist() == [[1, 2]]
        bad = gateway.model("bad")
        assert not bad.ready
        assert "config.pbtxt" in bad.reason
        with pytest.raises(ModelUnavailableError, match="bad"):
            await gateway.infer(request("bad"))


async def test_a_route_named_like_a_model_is_refused(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    with pytest.raises(ModelLoadError, match="'first' is a route and a model"):
        async with opened(tmp_path, Route("first", ("first",), ordered)):
            pass


async def test_only_named_models_are_loaded(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=2))
    async with opened(tmp_path, names=("second",)) as gateway:
        assert [info.name for info in gateway.models()] == ["second"]


async def test_only_the_outputs_asked_for_come_back(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with opened(tmp_path) as gateway:
        asked = request("first")
        asked.outputs = ("OUTPUT0",)
        assert list((await gateway.infer(asked)).outputs) == ["OUTPUT0"]
        asked.outputs = ("NONE",)
        with pytest.raises(InvalidRequestError, match="unknown output 'NONE'"):
            await gateway.infer(asked)


async def test_a_route_leaves_out_a_variant_of_another_signature(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    write("second", IDENTITY.format(dims=3))
    async with opened(tmp_path, Route("both", ("first", "second"), ordered)) as gateway:
        assert gateway.model("both").variants == ("first",)


async def test_a_name_that_is_no_model_stops_the_start(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    with pytest.raises(ModelLoadError, match="setting models names 'frist'; the model repository has first"):
        async with opened(tmp_path, names=("frist",)):
            pass


async def test_a_failure_is_counted_where_its_answer_would_have_been(tmp_path: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2) + "version_policy { all { } }", "1", "3")
    async with opened(tmp_path, Route("both", ("first",), ordered)) as gateway:
        for model, version in (("first", "1"), ("both", "")):
            with pytest.raises(InvalidRequestError):
                await gateway.infer(request(model, "WRONG", version))
        body = gateway._metrics.exposition()[0].decode()
        failures = re.findall(r'request_failure{model="(\w+)",version="(\d)",reason="OTHER"} (\d)', body)
        assert failures == [("first", "1", "1"), ("first", "3", "1")]
