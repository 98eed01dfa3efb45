"""Wires the service together: the only place that knows all rooms."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI

from engines.cores import available_cores
from service.api import Operations, mount
from service.api.limits import Limits
from service.api.scrape import scrape_router
from service.catalog import Catalog
from service.cores import CoreBudget
from service.gateway import Gateway
from service.opening import Machine
from service.pipelines.pipeline import Doors, Pipeline
from service.pipelines.policies import load_policies
from service.routing.opening import open_route
from service.runtime import Runtime
from service.settings import Settings
from service.stopping import Stopping
from service.telemetry.metrics import Metrics
from service.telemetry.startup import report_step


def create_app(settings: Settings, stopping: Stopping | None = None) -> FastAPI:
    """The ASGI application. Models open when it starts and drain when it stops. `stopping`: set by whoever runs it."""
    clock = time.monotonic
    metrics = Metrics()
    routes = {name: open_route(name, route) for name, route in settings.routes.items()}
    catalog = Catalog(routes=routes, clock=clock)
    gateway = Gateway(catalog, metrics, clock)
    cores = settings.cores or max(1, round(available_cores()))
    machine = Machine(CoreBudget(cores), cores, clock, settings.max_queue_size, settings.stream_buffer)
    doors = Doors(gateway.infer, gateway.generate, catalog.fault, clock, catalog.predict)
    pipelines = [Pipeline(name, p, load_policies(p.policies), doors) for name, p in settings.pipelines.items()]
    runtime = Runtime(catalog, machine, metrics, gateway.infer, report_step, pipelines)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await runtime.start(settings.model_repository, settings.models)
        yield
        await runtime.stop(settings.shutdown_grace_seconds)

    app = FastAPI(title="Batchyard", lifespan=lifespan)
    app.include_router(scrape_router(metrics.exposition))
    operations = Operations(stopping or Stopping(), runtime if settings.allow_control else None)
    mount(app, gateway, _limits(settings), operations)
    return app


def _limits(settings: Settings) -> Limits:
    limits = Limits(
        settings.max_body_bytes,
        settings.default_timeout_ms / 1000,
        generation_timeout=settings.generation_timeout_ms / 1000,
    )
    return replace(limits, max_embedding_inputs=min(limits.max_embedding_inputs, settings.max_queue_size))
