"""Opens the model repository into the catalog when the service starts, and drains it when it stops."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from engines.errors import EngineError, ModelLoadError
from engines.repository import ModelEntry, scan_all
from engines.tensor import Signature
from service.batching.replica import Identity, LocalReplica
from service.catalog import Catalog, Model, Served
from service.ensemble import Ensemble, Infer
from service.intake import TensorIntake
from service.opening import Machine, open_version
from service.opening_generation import open_generation
from service.pipelines.pipeline import VERSION, Pipeline
from service.telemetry.metrics import Metrics

LOGGER = logging.getLogger("batchyard.runtime")

Report = Callable[[str, int, int], None]
"""Told of each step of the start: what happened, how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Fills the catalog. A model that cannot be opened is listed with its reason and stops no other."""

    catalog: Catalog
    machine: Machine
    metrics: Metrics
    infer: Infer
    report: Report
    pipelines: Sequence[Pipeline] = ()

    async def start(self, roots: Sequence[Path], names: Sequence[str]) -> None:
        """Opens every model of `roots` (only `names`, if any are given), ensembles and pipelines last."""
        found = scan_all(roots)
        _check_wanted(names, found)
        entries = [entry for entry in found if not names or entry.name in names]
        self._check_names(entries)
        looped = _in_a_loop(entries, self.catalog)
        for done, entry in enumerate(entries, start=1):
            reason = looped.get(entry.name)
            model = Model(entry.name, entry.config, reason=reason) if reason else await self._open(entry)
            self.catalog.models[entry.name] = model
            self.report(f"{entry.name}: {model.reason or 'ready'}", done, len(entries))
        self._check_variants()
        for pipeline in self.pipelines:
            self._add(pipeline)

    def _add(self, pipeline: Pipeline) -> None:
        if pipeline.model in self.catalog.models or pipeline.model in self.catalog.routes:
            raise ModelLoadError(f"{pipeline.model!r} is a pipeline and a model or route; rename one of them")
        served = Served(TensorIntake(Signature((), ())), pipeline)
        self.catalog.models[pipeline.model] = Model(pipeline.model, versions={VERSION: served})
        if not self.catalog.fault(pipeline.classifier):
            pipeline.review(self.catalog.info(pipeline.classifier).signature)

    def _check_variants(self) -> None:
        """Leaves out of each route the variants that take or give other tensors than its first open one."""
        for route in list(self.catalog.routes.values()):
            signatures = {name: self.catalog.signature(name) for name in route.variants}
            wanted = next((signature for signature in signatures.values() if signature), None)
            odd = {name for name, signature in signatures.items() if signature not in (None, wanted)}
            variants = tuple(name for name in route.variants if name not in odd)
            self.catalog.routes[route.name] = replace(route, variants=variants)
            for name in sorted(odd):
                LOGGER.warning(
                    "route %s leaves out %s: its inputs or outputs differ from %s", route.name, name, variants[0]
                )

    def _check_names(self, entries: Sequence[ModelEntry]) -> None:
        for entry in entries:
            if entry.name in self.catalog.routes:
                raise ModelLoadError(f"{entry.name!r} is a route and a model of {entry.folder}; rename one of them")

    async def _open(self, entry: ModelEntry) -> Model:
        model = Model(entry.name, entry.config, reason=entry.error)
        for version in entry.versions:
            try:
                model.versions[str(version)] = await self._open_version(entry, str(version))
            except EngineError as error:
                model.reason = str(error)
            except Exception as error:
                LOGGER.exception("opening %s failed", entry.name)
                model.reason = f"opening it failed: {type(error).__name__}: {error}"
        return model

    async def _open_version(self, entry: ModelEntry, version: str) -> Served:
        config = entry.config
        if config is None:
            raise ModelLoadError(entry.error)
        if config.ensemble:
            signature = Signature(config.inputs, config.outputs, config.max_batch_size)
            return Served(TensorIntake(signature), Ensemble(config, version, self.infer, self.catalog.fault))
        if config.generation:
            told = partial(self.metrics.step_done, entry.name, version)
            generator = await open_generation(config, entry.folder, version, self.machine, told)
            self.metrics.watch_pending(entry.name, version, lambda: generator.waiting)
            self.metrics.watch_running(entry.name, version, lambda: generator.running)
            signature = Signature(config.inputs, config.outputs, config.max_batch_size)
            return Served(TensorIntake(signature), generator)
        opened = await asyncio.to_thread(open_version, config, entry.folder, version, self.machine)
        identity = Identity(entry.name, version, config.backend, opened.threads)
        replica = LocalReplica(
            identity, opened.engines, opened.batcher, self.machine.cores, self.machine.clock, self.metrics.batch_done
        )
        self.metrics.watch_pending(entry.name, version, lambda: replica.pending)
        return Served(opened.intake, replica)

    async def stop(self, grace: float) -> None:
        """Drains all replicas, at most `grace` seconds."""
        replicas = [served.replica for model in self.catalog.models.values() for served in model.versions.values()]
        await asyncio.gather(*(replica.close(grace) for replica in replicas))


def _check_wanted(names: Sequence[str], found: Sequence[ModelEntry]) -> None:
    known = [entry.name for entry in found]
    for name in names:
        if name not in known:
            raise ModelLoadError(
                f"setting models names {name!r}; the model repository has {', '.join(known) or 'none'}"
            )


def _in_a_loop(entries: Iterable[ModelEntry], catalog: Catalog) -> dict[str, str]:
    """Ensembles that would call themselves, with the reason why they are not opened."""
    steps = {entry.name: [step.model_name for step in entry.config.ensemble] for entry in entries if entry.config}
    calls = {**{route.name: list(route.variants) for route in catalog.routes.values()}, **steps}
    return {name: f"ensemble {name!r} calls itself through its steps" for name in steps if _reaches(name, name, calls)}


def _reaches(start: str, goal: str, calls: Mapping[str, Sequence[str]]) -> bool:
    seen: set[str] = set()
    left = list(calls.get(start, ()))
    while left:
        name = left.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            left += calls.get(name, ())
    return False
