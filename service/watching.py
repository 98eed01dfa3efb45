"""Has the metrics ask, at every scrape, what waits and runs in whatever answers."""

from service.batched_remote import BatchedReplica
from service.batching.faults import total
from service.batching.replica import LocalReplica
from service.catalog import Catalog, Model
from service.ensembles.ensemble import Ensemble
from service.generation.remote import RemoteReplica
from service.generation.replica import GeneratorReplica
from service.remote.replica import PoolReplica
from service.routing.replica import Replica
from service.sequences.replica import SequenceReplica
from service.telemetry.metrics import Metrics


def watch(metrics: Metrics, catalog: Catalog, model: Model, old: Model | None) -> None:
    """From now on `model` is asked, in place of what was given by its name before."""
    for version in old.versions if old else ():
        metrics.unwatch(model.name, version)
    for version, served in model.versions.items():
        metrics.begin(model.name, version)
        _watch(metrics, catalog, (model.name, version), served.replica)


def _watch(metrics: Metrics, catalog: Catalog, key: tuple[str, str], replica: Replica) -> None:
    match replica:
        case Ensemble():
            metrics.counts_alone(*key, catalog.info(key[0]).signature.max_batch_size > 0)
        case LocalReplica():
            metrics.watch_pending(*key, lambda: replica.pending)
            metrics.watch_engines(*key, replica.calibration, lambda: replica.faults)
            metrics.watch_own(*key, lambda: replica.engines)
        case SequenceReplica():
            metrics.watch_pending(*key, lambda: replica.pending)
            metrics.watch_sequences(*key, lambda: replica.sequences)
            parts = [one for one in replica.instances if isinstance(one, LocalReplica)]
            metrics.watch_engines(*key, parts[0].calibration, lambda: total(part.faults for part in parts))
            metrics.watch_own(*key, lambda: [engine for part in parts for engine in part.engines])
        case BatchedReplica():
            _watch(metrics, catalog, key, replica.lanes)
        case PoolReplica():
            metrics.counts_alone(*key, catalog.info(key[0]).signature.max_batch_size > 0)
            metrics.watch_running(*key, lambda: replica.running)
        case GeneratorReplica() | RemoteReplica():
            metrics.watch_pending(*key, lambda: replica.waiting)
            metrics.watch_running(*key, lambda: replica.running)
