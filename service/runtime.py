"""Opens the model repository into the catalog when the service starts, and drains it when it stops."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from engines.errors import EngineError, ModelLoadError
from engines.model_manifest import check_manifest
from engines.repository import ModelEntry, scan_all
from engines.tensor import Signature
from service import triton_words
from service.awaiting import Awaiting, is_remote
from service.catalog import Catalog, Model, nothing
from service.cores import CoreBudget
from service.digests import behind_caches, digest_of
from service.ensembles.door import Door
from service.ensembles.ensemble import Ensemble
from service.errors import LoadFailedError, NotFoundError
from service.gateway import Gateway
from service.intake import TensorIntake, TextOnlyIntake
from service.opening import Machine, open_version
from service.opening_generation import open_generation
from service.opening_replica import open_replica
from service.overrides import NO_OVERRIDES, Overrides
from service.overriding import find
from service.pipelines.pipeline import VERSION, Pipeline
from service.replacing import Replacing
from service.routing.breaker import unbreakable
from service.routing.route import Route
from service.routing.served import Served, no_digest
from service.steps import dependents_of, in_a_loop, step_names, steps_first
from service.telemetry.metrics import Metrics
from service.watching import watch

LOGGER = logging.getLogger("batchyard.runtime")

Report = Callable[[str, int, int], None]
"""Told of each step of the start: what happened, how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Fills the catalog. A model that cannot be opened is listed with its reason and stops no other."""

    catalog: Catalog
    machine: Machine
    metrics: Metrics
    gateway: Gateway
    report: Report
    pipelines: Sequence[Pipeline] = ()
    roots: list[Path] = field(default_factory=list)
    declared: dict[str, Route] = field(default_factory=dict)
    replacing: Replacing = field(default_factory=Replacing)
    named: set[str] = field(default_factory=set)
    digested: set[str] = field(default_factory=set)
    awaiting: Awaiting = field(default_factory=Awaiting)

    async def start(self, roots: Sequence[Path], names: Sequence[str]) -> None:
        """Opens every model of `roots` (only `names`, if any are given), ensembles and pipelines last."""
        self.roots[:] = roots
        self.named.update(names)
        self.declared.update(self.catalog.routes)
        found = scan_all(roots)
        _check_wanted(names, found)
        entries = steps_first([entry for entry in found if not names or entry.name in names])
        self._check_names(entries)
        self.digested.update(behind_caches(found, self.declared.values(), self.pipelines))
        looped = in_a_loop(entries, self.catalog)
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
        intake = TensorIntake(Signature((), ()))
        served = Served(intake, pipeline, unbreakable(), digest=pipeline.digest, parts=pipeline.parts)
        self.catalog.show(Model(pipeline.model, versions={VERSION: served}))
        if not self.catalog.fault(pipeline.classifier):
            pipeline.review(self.catalog.info(pipeline.classifier).signature)

    async def load(self, name: str, overrides: Overrides = NO_OVERRIDES) -> None:
        """Opens a model as it lies on disk now, but for what is overridden, warms it while what is loaded of it serves,
        and switches. The models of an ensemble's steps are loaded before it where they are not.

        Where it cannot be opened nothing changes; what a caller began who leaves is done to its end. Raises
        `NotFoundError`, `InvalidRequestError`, `LoadFailedError`.
        """
        await asyncio.shield(self._load_named(name, overrides))

    async def _load_named(self, name: str, overrides: Overrides) -> None:
        await self._load(name, overrides)
        self.named.add(name)

    async def _load(self, name: str, overrides: Overrides) -> None:
        async with self.replacing.alone(name):
            self._check_is_model(name)
            source = await asyncio.to_thread(find, self.roots, name, overrides)
            old = self.catalog.models.get(name, Model(name))
            if not old.versions:
                self._show(Model(name, source.entry.config, reason="it is being loaded", state="LOADING"))
            new = await self._open_anew(source.entry)
            new.release = source.release
            if new.reason:
                self._give_up(new, old, source.entry)
            self._show(new)
            self._check_variants(name)
            self.replacing.retire(name, old.versions.values(), old.release)
            LOGGER.info("loaded %s, versions %s", name, ", ".join(new.versions), extra={"model": name})

    async def unload(self, name: str, dependents: bool = False) -> None:
        """Takes a model out of service; what it holds is answered. Raises `NotFoundError`.

        `dependents`: and the models of its steps that nothing else needs, and that nobody asked to be loaded.
        """
        steps = dependents_of(name, self.catalog.models, self.named) if dependents else []
        for model in (name, *steps):
            await self._unload(model)

    async def _unload(self, name: str) -> None:
        async with self.replacing.alone(name):
            self._check_is_model(name)
            old = self.catalog.models.get(name)
            if old is None:
                raise NotFoundError(f"no model {name!r} is loaded; loaded are {', '.join(sorted(self.catalog.models))}")
            reason = f"it was unloaded; POST /v2/repository/models/{name}/load loads it"
            gone = Model(name, old.config, {}, reason, tuple(old.versions) or old.closed, "UNLOADING")

            def closed() -> None:
                old.release()
                gone.state = "UNAVAILABLE"

            self._show(gone)
            self.named.discard(name)
            self.replacing.retire(name, old.versions.values(), closed)
            LOGGER.info("unloaded %s", name, extra={"model": name})

    def _check_is_model(self, name: str) -> None:
        if name in self.declared or any(name == pipeline.model for pipeline in self.pipelines):
            raise NotFoundError(f"{name!r} is a route or pipeline of the settings; load and unload its models")

    async def _open_anew(self, entry: ModelEntry) -> Model:
        looped = self._loop_of(entry)
        if not looped:
            await self._load_steps(entry)
            looped = self._loop_of(entry)
        if looped:
            return Model(entry.name, entry.config, reason=looped)
        # A budget of its own: to warm up takes all cores at once, and what serves may not wait so long for its own.
        return await self._open(entry, CoreBudget(self.machine.core_count))

    def _loop_of(self, entry: ModelEntry) -> str:
        """Why this ensemble would call itself; "" if it would not."""
        others = [model for model in self.catalog.models.values() if model.name != entry.name]
        return in_a_loop([*others, entry], self.catalog).get(entry.name, "")

    async def _load_steps(self, entry: ModelEntry) -> None:
        """Loads what an ensemble needs and nobody has loaded; where that fails the ensemble itself will say so."""
        for name in step_names(entry):
            if self.catalog.newest(name) is None and name not in self.declared:
                with suppress(NotFoundError, LoadFailedError):
                    await self._load(name, NO_OVERRIDES)

    def _give_up(self, new: Model, old: Model, entry: ModelEntry) -> NoReturn:
        """Closes what could be opened of a model that cannot be loaded; raises `LoadFailedError`. Where it waits for
        its servers, and nothing else of it serves, it goes on waiting."""
        waits = not old.versions and self.awaiting.waits_for(new)
        self.replacing.retire(new.name, new.versions.values(), nothing if waits else new.release)
        name, reason = new.name, new.reason
        said = triton_words.not_polled(name) if entry.error else triton_words.not_opened(name, entry.versions, reason)
        if not old.versions:
            new.versions, new.closed = {}, tuple(map(str, entry.versions))
            new.release = new.release if waits else nothing
            self._show(new)
            raise LoadFailedError(f"model {name!r} was not loaded: {reason}").as_triton(said)
        serving = f"what was loaded before goes on: version {', '.join(old.versions)}"
        raise LoadFailedError(f"model {name!r} was not loaded, {serving}: {reason}").as_triton(said)

    def _show(self, model: Model) -> None:
        """Gives callers this in place of what they were given by its name, and counts what waits in it."""
        old = self.catalog.models.get(model.name)
        self.catalog.show(model)
        watch(self.metrics, self.catalog, model, old)

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
            self.catalog.narrow(replace(route, variants=variants))
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
        if is_remote(entry):
            return await self.awaiting.open(entry, self.machine, self.metrics.batch_done, self.catalog, self._arrived)
        model = Model(entry.name, entry.config, reason=entry.error, closed=tuple(map(str, entry.versions)))
        for version in entry.versions:
            try:
                digest = await digest_of(entry, str(version)) if self._is_digested(entry) else no_digest()
                served = model.versions[str(version)] = await self._open_version(model, entry, str(version), warming)
                served.digest = digest
            except EngineError as error:
                model.reason = str(error)
            except Exception as error:
                LOGGER.exception("opening %s failed", entry.name)
                model.reason = f"opening it failed: {type(error).__name__}: {error}"
        _review(model)
        return model

    def _is_digested(self, entry: ModelEntry) -> bool:
        return entry.name in self.digested or (entry.config is not None and entry.config.response_cache)

    def _arrived(self, model: Model) -> None:
        """A model is open whose servers had to be waited for."""
        self._show(model)
        self._check_variants(model.name)

    async def _open_version(self, model: Model, entry: ModelEntry, version: str, warming: CoreBudget) -> Served:
        """`model`: what it becomes a part of; it is given the configuration that the version completes."""
        config = entry.config
        if config is None:
            raise ModelLoadError(entry.error)
        if config.ensemble:
            catalog, gateway = self.catalog, self.gateway
            door = Door(gateway.infer, gateway.stream, catalog.fault, catalog.predict, catalog.offer)
            ensemble = Ensemble(config, version, door)
            ensemble.graph()
            parts = tuple((step.model_name, step.version) for step in config.ensemble)
            return Served(TensorIntake(config.signature), ensemble, unbreakable(), parts=parts)
        await asyncio.to_thread(check_manifest, entry.folder / version)
        if config.generation:
            told = partial(self.metrics.step_done, entry.name, version)
            generator = await open_generation(config, entry.folder, version, self.machine, told, warming)
            return Served(TextOnlyIntake(config.signature, generator.name), generator)
        opened = await asyncio.to_thread(open_version, config, entry.folder, version, self.machine, warming)
        replica = open_replica(opened.config, version, opened, self.machine, self.metrics.batch_done)
        model.config = opened.config
        return Served(opened.intake, replica, quality=config.tolerance)

    async def stop(self, grace: float) -> None:
        """Drains all replicas, at most `grace` seconds."""
        await self.awaiting.stop()
        replicas = [served.replica for model in self.catalog.models.values() for served in model.versions.values()]
        await asyncio.gather(self.replacing.finish(grace), *(replica.close(grace) for replica in replicas))
        for model in self.catalog.models.values():
            await asyncio.to_thread(model.release)


def _review(model: Model) -> None:
    """Notes what is known of a model only once it is open."""
    config = model.config
    ensembles = [served.replica for served in model.versions.values() if isinstance(served.replica, Ensemble)]
    if config and ensembles:
        model.config = replace(config, decoupled=any(ensemble.decoupled for ensemble in ensembles))


def _check_wanted(names: Sequence[str], found: Sequence[ModelEntry]) -> None:
    known = [entry.name for entry in found]
    for name in names:
        if name not in known:
            raise ModelLoadError(
                f"setting models names {name!r}; the model repository has {', '.join(known) or 'none'}"
            )
