"""Wires the service together: the only place that knows all rooms."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from fastapi import FastAPI

from engines.cores import available_cores
from service.access.billing import Billing
from service.api import MANNERS, Operations, mount
from service.api.docs_page import mount_docs
from service.api.grpc.connections import GrpcConnections
from service.api.grpc.server import GrpcServer
from service.api.limits import Limits
from service.api.scrape import scrape_router
from service.cached_generations import TextCaching
from service.caching import open_caching
from service.catalog import Catalog
from service.cores import CoreBudget
from service.door.tls import load_tls
from service.gateway import Gateway
from service.opening import Machine
from service.opening_remote import endpoints_of
from service.pipelines.pipeline import Doors, Pipeline
from service.pipelines.policies import load_policies
from service.redis_link.link import RedisLink, open_link
from service.routing.opening import open_route
from service.runtime import Runtime
from service.scripting import Scripting
from service.semantics import Semantics
from service.server import ASGIApp, Service
from service.settings import Settings
from service.stopping import Stopping
from service.telemetry.log_settings import LogSettings
from service.telemetry.metrics import Metrics
from service.telemetry.startup import report_step
from service.telemetry.tracing import Tracing
from service.tenancy import open_accounts, warn_of_unknown_routes
from service.types import NO_HINTS, Hints

_LAST_TRACES = 5.0
"""Seconds in which the last traces are written."""


def create_app(settings: Settings) -> ASGIApp:
    """The ASGI application alone. Models open when it starts and drain when it stops."""
    return create_service(settings, Stopping()).app


def create_service(settings: Settings, stopping: Stopping) -> Service:
    """All that is served. Models open when the app starts, and drain when it stops. `stopping`: set by who runs it."""
    clock = time.monotonic
    metrics = Metrics()
    routes = {name: open_route(name, route) for name, route in settings.routes.items()}
    catalog = Catalog(routes=routes, clock=clock)
    tracing = Tracing(settings.trace_file)
    link = open_link(settings.redis)
    metrics.redis.counts = link.counts if link else None
    caching = open_caching(settings.cache, metrics, link)
    accounts = open_accounts(settings, metrics.tenants, link, clock)
    billing = Billing(accounts) if accounts else None
    semantics = Semantics(settings.semantic, catalog, lambda r: gateway.infer(r), lambda r: gateway.generate(r), clock)
    semantics.watch(metrics)
    texts = TextCaching(settings.stream_buffer, semantics.caches)
    gateway = Gateway(catalog, metrics, clock, tracing, caching, texts, billing)
    metrics.remotes.endpoints = partial(endpoints_of, catalog)
    cores = settings.cores or max(1, round(available_cores()))
    hints = Hints(cache="no-store") if accounts else NO_HINTS  # one tenant must not see what a model asked for another
    scripting = Scripting(gateway, settings.default_timeout_ms / 1000, settings.max_queue_size, hints)
    machine = Machine(
        CoreBudget(cores), cores, clock, settings.max_queue_size, settings.stream_buffer, scripting.of_a_model
    )
    doors = Doors(gateway.infer, gateway.generate, catalog.fault, clock, catalog.predict)
    pipelines = [Pipeline(name, p, load_policies(p.policies), doors) for name, p in settings.pipelines.items()]
    runtime = Runtime(catalog, machine, metrics, gateway, report_step, pipelines)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        scripting.start()
        async with _started(link):
            await runtime.start(settings.model_repository, settings.models)
            warn_of_unknown_routes(settings, [info.name for info in gateway.models()])
            semantics.review()
            yield
            await semantics.close()
            await runtime.stop(settings.shutdown_grace_seconds)
        await asyncio.to_thread(tracing.close, _LAST_TRACES)

    app = FastAPI(
        title="Batchyard",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.include_router(scrape_router(metrics.exposition))
    operations = Operations(stopping, runtime if settings.allow_control else None, LogSettings(), tracing)
    limits, manner = _limits(settings), MANNERS[settings.compat]()
    mount(app, gateway, limits, operations, manner, accounts)
    mount_docs(app)
    tls = load_tls(settings)
    line = GrpcConnections(settings.max_grpc_streams, settings.limits, tls)
    grpc = GrpcServer(gateway, limits, operations, manner, line, accounts) if settings.grpc else None
    return Service(app, grpc, tls.context if tls else None, link.check if link else None)


@asynccontextmanager
async def _started(link: RedisLink | None) -> AsyncIterator[None]:
    """Redis from before the first request until after the last."""
    if link is None:
        yield
        return
    await link.start()
    try:
        yield
    finally:
        await link.close()


def _limits(settings: Settings) -> Limits:
    pattern = settings.header_forward_pattern
    limits = Limits(
        settings.max_body_bytes,
        settings.max_json_bytes,
        settings.default_timeout_ms / 1000,
        generation_timeout=settings.generation_timeout_ms / 1000,
        forward=re.compile(pattern, re.IGNORECASE) if pattern else None,
    )
    return replace(limits, max_embedding_inputs=min(limits.max_embedding_inputs, settings.max_queue_size))
