"""Opens the model repository into the catalog when the service starts, and drains it when it stops."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from engines.errors import EngineError, ModelLoadError
from engines.repository import ModelEntry, scan_all
from engines.tensor import Signature
from service.batching.replica import Identity, LocalReplica
from service.catalog import Catalog, Model
from service.cores import CoreBudget
from service.ensemble import Ensemble, Infer
from service.errors import LoadFailedError, NotFoundError
from service.generation.remote import RemoteReplica
from service.generation.replica import GeneratorReplica
from service.intake import TensorIntake
from service.opening import Machine, open_version
from service.opening_generation import open_generation
from service.pipelines.pipeline import VERSION, Pipeline
from service.replacing import Replacing
from service.routing.breaker import unbreakable
from service.routing.replica import Replica
from service.routing.route import Route
from service.routing.served import Served
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
    roots: list[Path] = field(default_factory=list)
    declared: dict[str, Route] = field(default_factory=dict)
    replacing: Replacing = field(default_factory=Replacing)

    async def start(self, roots: Sequence[Path], names: Sequence[str]) -> None:
        """Opens every model of `roots` (only `names`, if any are given), ensembles and pipelines last."""
        self.roots[:] = roots
        self.declared.update(self.catalog.routes)
        found = scan_all(roots)
        _check_wanted(names, found)
        entries = [entry for entry in found if not names or entry.name in names]
        self._check_names(entries)
        looped = _in_a_loop(entries, self.catalog)
        for done, entry in enumerate(entries, start=1):
            reason = looped.get(entry.name)
            opened = partial(self._open, entry, self.machine.cores)
            model = Model(entry.name, entry.config, reason=reason) if reason else await opened()
            self._show(model)
            self.report(f"{entry.name}: {model.reason or 'ready'}", done, len(entries))
        self._check_variants()
        for pipeline in self.pipelines:
            self._add(pipeline)

    def _add(self, pipeline: Pipeline) -> None:
        if pipeline.model in self.catalog.models or pipeline.model in self.catalog.routes:
            raise ModelLoadError(f"{pipeline.model!r} is a pipeline and a model or route; rename one of them")
        served = Served(TensorIntake(Signature((), ())), pipeline, unbreakable())
        self.catalog.models[pipeline.model] = Model(pipeline.model, versions={VERSION: served})
        if not self.catalog.fault(pipeline.classifier):
            pipeline.review(self.catalog.info(pipeline.classifier).signature)

    async def load(self, name: str) -> None:
        """Opens a model as it lies on disk now, warms it while what is loaded of it serves, and switches.

        Where it cannot be opened nothing changes. Raises `NotFoundError`, `LoadFailedError`.
        """
        async with self.replacing.alone(name):
            entry = await asyncio.to_thread(self._find, name)
            old = self.catalog.models.get(name, Model(name))
            new = await self._open_anew(entry)
            if new.reason:
                self._give_up(new, old)
            self._show(new)
            self._check_variants(name)
            self.replacing.retire(name, old.versions.values())
            LOGGER.info("loaded %s, versions %s", name, ", ".join(new.versions), extra={"model": name})

    async def unload(self, name: str) -> None:
        """Takes a model out of service; what it holds is answered. Raises `NotFoundError`."""
        async with self.replacing.alone(name):
            self._check_is_model(name)
            old = self.catalog.models.get(name)
            if old is None:
                raise NotFoundError(f"no model {name!r} is loaded; loaded are {', '.join(sorted(self.catalog.models))}")
            reason = f"it was unloaded; POST /v2/repository/models/{name}/load loads it"
            self._show(Model(name, old.config, reason=reason))
            self.replacing.retire(name, old.versions.values())
            LOGGER.info("unloaded %s", name, extra={"model": name})

    def _find(self, name: str) -> ModelEntry:
        """The model in the repository, as it is now."""
        self._check_is_model(name)
        found = {entry.name: entry for entry in scan_all(self.roots)}
        if name not in found:
            raise NotFoundError(f"the model repository has no {name!r}; it has {', '.join(found) or 'none'}")
        return found[name]

    def _check_is_model(self, name: str) -> None:
        if name in self.declared or any(name == pipeline.model for pipeline in self.pipelines):
            raise NotFoundError(f"{name!r} is a route or pipeline of the settings; load and unload its models")

    async def _open_anew(self, entry: ModelEntry) -> Model:
        others = [model for model in self.catalog.models.values() if model.name != entry.name]
        looped = _in_a_loop([*others, entry], self.catalog).get(entry.name)
        if looped:
            return Model(entry.name, entry.config, reason=looped)
        # A budget of its own: to warm up takes all cores at once, and what serves may not wait so long for its own.
        return await self._open(entry, CoreBudget(self.machine.core_count))

    def _give_up(self, new: Model, old: Model) -> NoReturn:
        """Closes what could be opened of a model that cannot be loaded; raises `LoadFailedError`."""
        self.replacing.retire(new.name, new.versions.values())
        if not old.versions:
            self._show(Model(new.name, new.config, reason=new.reason))
            raise LoadFailedError(f"model {new.name!r} was not loaded: {new.reason}")
        serving = f"what was loaded before goes on: version {', '.join(old.versions)}"
        raise LoadFailedError(f"model {new.name!r} was not loaded, {serving}: {new.reason}")

    def _show(self, model: Model) -> None:
        """Gives callers this in place of what they were given by its name, and counts what waits in it."""
        old = self.catalog.models.get(model.name)
        self.catalog.models[model.name] = model
        for version, served in old.versions.items() if old else ():
            self.metrics.watch_pending(model.name, version, lambda: 0)
            if isinstance(served.replica, GeneratorReplica | RemoteReplica):
                self.metrics.watch_running(model.name, version, lambda: 0)
        for version, served in model.versions.items():
            self._watch(model.name, version, served.replica)

    def _watch(self, name: str, version: str, replica: Replica) -> None:
        match replica:
            case LocalReplica():
                self.metrics.watch_pending(name, version, lambda: replica.pending)
                self.metrics.watch_engines(name, version, replica.calibration, lambda: replica.faults)
            case GeneratorReplica() | RemoteReplica():
                self.metrics.watch_pending(name, version, lambda: replica.waiting)
                self.metrics.watch_running(name, version, lambda: replica.running)

    def _check_variants(self, changed: str = "") -> None:
        """Leaves out of each route the variants that take or give other tensors than its first open one.

        `changed`: a model that is compared with the others, wherever it stands.
        """
        for route in self.declared.values():
            order = sorted(route.variants, key=lambda name: name == changed)
            signatures = {name: self.catalog.signature(name) for name in order}
            wanted = next((signature for signature in signatures.values() if signature), None)
            odd = {name for name, signature in signatures.items() if signature not in (None, wanted)}
            variants = tuple(name for name in route.variants if name not in odd)
            if variants == self.catalog.routes[route.name].variants:
                continue
            self.catalog.routes[route.name] = replace(route, variants=variants)
            for name in sorted(odd):
                LOGGER.warning(
                    "route %s leaves out %s: its inputs or outputs differ from %s", route.name, name, variants[0]
                )

    def _check_names(self, entries: Sequence[ModelEntry]) -> None:
        for entry in entries:
            if entry.name in self.catalog.routes:
                raise ModelLoadError(f"{entry.name!r} is a route and a model of {entry.folder}; rename one of them")

    async def _open(self, entry: ModelEntry, warming: CoreBudget) -> Model:
        """Opens its versions. `warming`: the cores that warming up takes."""
        model = Model(entry.name, entry.config, reason=entry.error)
        for version in entry.versions:
            try:
                model.versions[str(version)] = await self._open_version(entry, str(version), warming)
            except EngineError as error:
                model.reason = str(error)
            except Exception as error:
                LOGGER.exception("opening %s failed", entry.name)
                model.reason = f"opening it failed: {type(error).__name__}: {error}"
        return model

    async def _open_version(self, entry: ModelEntry, version: str, warming: CoreBudget) -> Served:
        config = entry.config
        if config is None:
            raise ModelLoadError(entry.error)
        if config.ensemble:
            signature = Signature(config.inputs, config.outputs, config.max_batch_size)
            ensemble = Ensemble(config, version, self.infer, self.catalog.fault, self.catalog.predict)
            return Served(TensorIntake(signature), ensemble, unbreakable())
        if config.generation:
            told = partial(self.metrics.step_done, entry.name, version)
            generator = await open_generation(config, entry.folder, version, self.machine, told, warming)
            signature = Signature(config.inputs, config.outputs, config.max_batch_size)
            return Served(TensorIntake(signature), generator)
        opened = await asyncio.to_thread(open_version, config, entry.folder, version, self.machine, warming)
        identity = Identity(entry.name, version, config.backend, opened.threads, config.finite)
        replica = LocalReplica(
            identity, opened.engines, opened.batcher, self.machine.cores, self.machine.clock, self.metrics.batch_done
        )
        return Served(opened.intake, replica, quality=config.tolerance)

    async def stop(self, grace: float) -> None:
        """Drains all replicas, at most `grace` seconds."""
        replicas = [served.replica for model in self.catalog.models.values() for served in model.versions.values()]
        await asyncio.gather(self.replacing.finish(grace), *(replica.close(grace) for replica in replicas))


def _check_wanted(names: Sequence[str], found: Sequence[ModelEntry]) -> None:
    known = [entry.name for entry in found]
    for name in names:
        if name not in known:
            raise ModelLoadError(
                f"setting models names {name!r}; the model repository has {', '.join(known) or 'none'}"
            )


def _in_a_loop(entries: Iterable[ModelEntry | Model], catalog: Catalog) -> dict[str, str]:
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
