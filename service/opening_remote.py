"""Opening a model that other servers run: behind a pool of them, and behind a queue where batches are made here."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines import open_servers
from engines.base import AnyEngine, EngineOptions
from engines.errors import ModelLoadError
from engines.model_config import DynamicBatching, ModelConfig
from engines.remote_config import check_same, complete, says_all
from engines.remote_model import RemoteServers
from engines.repository import ModelEntry
from service.batched_remote import BatchedReplica
from service.batching.batcher import Batcher
from service.batching.cost import CostModel
from service.batching.record import BatchRecord
from service.batching.replica import Identity, LocalReplica
from service.catalog import Catalog, Model
from service.intake import TensorIntake
from service.opening import Machine, Opened, composer, open_intake, placements
from service.owner import Owned, open_owned
from service.remote.asking import Asking
from service.remote.endpoint import Endpoint
from service.remote.fleet import CONFIG_TIMEOUT, Fleet
from service.remote.lane import RemoteLane
from service.remote.pool import Pool
from service.remote.replica import PoolReplica, Servers
from service.remote.sequences import Sequences
from service.routing.served import Served

BACKEND = "triton"

Observe = Callable[[BatchRecord], None]


async def open_remote_model(entry: ModelEntry, machine: Machine, observe: Observe) -> Model:
    """The model, open, with what its servers say in its configuration. Raises `EngineUnreachableError` where none can
    be asked now, `ModelLoadError` where that would not help. `observe` is told of every batch."""
    config = entry.config
    if config is None:
        raise ModelLoadError(entry.error)
    version = _version(entry)
    servers = open_servers(EngineOptions(config, entry.folder / version))
    pool = Pool(entry.name, servers.most, machine.clock)
    fleet = Fleet(servers, pool, machine.clock)
    try:
        remote = await fleet.open()
        completed = complete(config, remote, entry.folder)
        _check(completed, servers, remote)
        await fleet.watch(partial(_agree, completed))
        parts = Servers(pool, fleet, Asking(pool, machine.clock))
        if _is_batched(completed):
            lanes = partial(_lanes, completed, entry, parts.asking, servers.batch_seconds, machine)
            served = _batched(completed, version, await asyncio.to_thread(lanes, _loop()), parts, machine, observe)
        else:
            served = _direct(completed, version, parts, _sequences(remote, entry.name, machine.clock), machine.clock)
    except BaseException:
        await fleet.close(0.0)
        raise
    return Model(entry.name, completed, {version: served})


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _version(entry: ModelEntry) -> str:
    if len(entry.versions) > 1:
        raise ModelLoadError(
            f"model {entry.name!r}: versions {list(entry.versions)} are served, but a model of other servers has one "
            "here; remove the others, and name the version there in batchyard.triton.version"
        )
    return str(entry.versions[0])


def _is_batched(config: ModelConfig) -> bool:
    return config.dynamic_batching is not None or config.packing is not None or bool(config.padding)


def _check(config: ModelConfig, servers: RemoteServers, remote: ModelConfigProto) -> None:
    """Raises `ModelLoadError` for what does not go together."""
    batched, name = _is_batched(config), f"model {config.name!r}"
    addresses = servers.addresses or tuple(filter(None, [servers.name]))
    if config.decoupled and any(address.protocol == "http" for address in addresses):
        raise ModelLoadError(f"{name} is decoupled, which HTTP has no word for; use grpc:// addresses")
    if batched and (config.decoupled or remote.HasField("sequence_batching")):
        kind = "decoupled" if config.decoupled else "stateful"
        raise ModelLoadError(f"{name} is {kind}, its requests cannot be batched here; remove dynamic_batching")
    if config.text is not None and not batched:
        raise ModelLoadError(
            f"{name}: batchyard.text.tokenizer needs batches made here; add dynamic_batching, or remove it and let the "
            "other server take text"
        )


async def _agree(config: ModelConfig, endpoint: Endpoint) -> None:
    check_same(config, await endpoint.remote.config(CONFIG_TIMEOUT))


def _sequences(remote: ModelConfigProto, name: str, clock: Callable[[], float]) -> Sequences | None:
    """None where the servers say that the model keeps no state. A server with metadata only does not say."""
    if not remote.HasField("sequence_batching") and says_all(remote):
        return None
    return Sequences(name, remote.sequence_batching.max_sequence_idle_microseconds / 1e6, clock)


def _direct(
    config: ModelConfig, version: str, parts: Servers, sequences: Sequences | None, clock: Callable[[], float]
) -> Served:
    replica = PoolReplica(f"{config.name}:{version}", config, parts, sequences, clock)
    return Served(TensorIntake(config.signature), replica, quality=config.tolerance)


def _lanes(
    config: ModelConfig,
    entry: ModelEntry,
    asking: Asking,
    seconds: float,
    machine: Machine,
    loop: asyncio.AbstractEventLoop,
) -> Opened:
    """A queue in front of as many lanes as `instance_group` counts. Nothing is measured: real batches teach it."""
    version = _version(entry)
    intake = open_intake(config, entry.folder, version, machine.max_queue)
    make = partial(RemoteLane, config, asking, seconds, machine.clock, loop)
    names = [f"{config.name}:{version}#{number}" for number, _ in enumerate(placements(config))]
    lanes: list[Owned[AnyEngine]] = [open_owned(name, make) for name in names]
    settings = config.dynamic_batching or DynamicBatching()
    batcher = Batcher(composer(config), CostModel(), machine.max_queue, len(lanes), settings)
    return Opened(config, intake, lanes, batcher, 0)


def _batched(
    config: ModelConfig, version: str, opened: Opened, parts: Servers, machine: Machine, observe: Observe
) -> Served:
    identity = Identity(config.name, version, config.backend, 0, config.finite)
    lanes = LocalReplica(identity, opened.engines, opened.batcher, machine.cores, machine.clock, observe)
    return Served(opened.intake, BatchedReplica(lanes, parts.pool, parts.fleet), quality=config.tolerance)


def endpoints_of(catalog: Catalog) -> Iterator[tuple[str, str, Endpoint]]:
    """The servers of all models that others run, with model and version."""
    for model in list(catalog.models.values()):
        for version, served in list(model.versions.items()):
            if isinstance(served.replica, PoolReplica | BatchedReplica):
                for endpoint in served.replica.endpoints():
                    yield model.name, version, endpoint
