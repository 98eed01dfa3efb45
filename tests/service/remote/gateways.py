"""A gateway of this process whose models other servers run."""

import re
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from service.catalog import Catalog
from service.cores import CoreBudget
from service.gateway import Gateway
from service.opening import Machine
from service.opening_remote import endpoints_of
from service.routing.route import Route
from service.runtime import Runtime
from service.telemetry.metrics import Metrics
from service.types import InferRequest, SequenceStep
from tests.e2e.processes import write_model


def remote_model(root: Path, name: str, extra: str = "", **parameters: object) -> None:
    """A model that other servers run. `parameters`: those that start with `batchyard.triton.`."""
    one = 'parameters {{ key: "batchyard.triton.{}" value {{ string_value: "{}" }} }}\n'
    lines = [one.format(key, value) for key, value in parameters.items()]
    write_model(root, name, f'backend: "triton"\n{extra}{"".join(lines)}')


@asynccontextmanager
async def gateway_over(root: Path, *routes: Route) -> AsyncIterator[tuple[Gateway, Metrics]]:
    async with running(root, *routes) as (runtime, gateway):
        yield gateway, runtime.metrics


@asynccontextmanager
async def running(root: Path, *routes: Route) -> AsyncIterator[tuple[Runtime, Gateway]]:
    catalog = Catalog(routes={route.name: route for route in routes})
    metrics = Metrics()
    metrics.remotes.endpoints = partial(endpoints_of, catalog)
    gateway = Gateway(catalog, metrics, time.monotonic)
    machine = Machine(CoreBudget(2), 2, time.monotonic, 200)
    runtime = Runtime(catalog, machine, metrics, gateway, lambda *_: None)
    await runtime.start([root], ())
    try:
        yield runtime, gateway
    finally:
        await runtime.stop(5.0)


def floats(
    model: str, *values: float, seconds: float = 10.0, sequence: SequenceStep | None = None, **more: object
) -> InferRequest:
    """A request of one row to an identity model."""
    inputs = {"INPUT0": np.array([values], np.float32)}
    return InferRequest(model, inputs, deadline=time.monotonic() + seconds, sequence=sequence, **more)  # type: ignore[arg-type]


def series(text: bytes, name: str) -> Mapping[str, float]:
    """What `/metrics` says under a name: labels -> value."""
    found = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text.decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def total(port: int, name: str, label: str) -> float:
    """The sum of a server's series that have the label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return sum(value for labels, value in series(answer.read(), name).items() if label in labels)
