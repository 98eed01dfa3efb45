"""Putting the engines of an opened version behind their queue; those of a stateful model behind one queue each."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial

from engines.base import AnyEngine
from engines.calls import CallEngine
from engines.model_config import DynamicBatching, ModelConfig
from engines.sequence_batching import Direct, SequenceBatching
from service.batching.batcher import Batcher
from service.batching.compose import Composer, SingleComposer, StackComposer
from service.batching.record import BatchRecord
from service.batching.replica import Identity, LocalReplica
from service.batching.slots import SlotComposer
from service.opening import Machine, Opened, stacking
from service.owner import Owned
from service.sequences.replica import SequenceReplica

Observe = Callable[[BatchRecord], None]
Make = Callable[[list[Owned[AnyEngine]], Batcher], LocalReplica]
"""Puts some of a version's engines behind a queue."""


def open_replica(
    config: ModelConfig, version: str, opened: Opened, machine: Machine, observe: Observe
) -> LocalReplica | SequenceReplica:
    """What answers for an opened version. `observe` is told of every batch. Called on the event loop."""
    identity = Identity(config.name, version, config.backend, opened.threads, config.finite, config.decoupled)
    make = partial(_local, identity, machine, observe)
    batching = config.sequence_batching
    if batching is None:
        return make(opened.engines, opened.batcher)
    return _sequences(f"{config.name}:{version}", config, batching, opened, machine, make)


def _local(
    identity: Identity, machine: Machine, observe: Observe, engines: list[Owned[AnyEngine]], batcher: Batcher
) -> LocalReplica:
    return LocalReplica(identity, engines, batcher, machine.cores, machine.clock, observe, machine.stream_buffer)


def _sequences(
    name: str, config: ModelConfig, batching: SequenceBatching, opened: Opened, machine: Machine, make: Make
) -> SequenceReplica:
    most = max(machine.max_queue, batching.slots(config.max_batch_size))
    instances = []
    for owned in opened.engines:
        cost = deepcopy(opened.batcher.forecast.cost)
        composer = sequence_composer(config, batching, owned.engine)
        batcher = Batcher(composer, cost, most, settings=queue_settings(config, batching))
        batcher.calibration = opened.batcher.calibration
        instances.append(make([owned], batcher))
    return SequenceReplica(name, config, batching, instances, machine.max_queue, machine.clock)


def sequence_composer(config: ModelConfig, batching: SequenceBatching, engine: AnyEngine) -> Composer:
    """How the requests of one instance are batched. An engine that takes requests one by one has no rows to keep."""
    strategy = batching.strategy
    if config.max_batch_size == 0:
        return SingleComposer()
    if not isinstance(strategy, Direct):
        return stacking(config, strategy.preferred_batch_sizes)
    if isinstance(engine, CallEngine):
        return StackComposer(config.max_batch_size)
    return SlotComposer(config.max_batch_size, {control.name: control.false for control in batching.controls})


def queue_settings(config: ModelConfig, batching: SequenceBatching) -> DynamicBatching:
    """The strategy's delays, said as the queue takes them."""
    strategy = batching.strategy
    if not isinstance(strategy, Direct):
        return DynamicBatching(
            strategy.preferred_batch_sizes, strategy.max_queue_delay_microseconds, strategy.preserve_ordering
        )
    if not strategy.minimum_slot_utilization:
        return DynamicBatching()
    least = max(1, math.ceil(strategy.minimum_slot_utilization * config.max_batch_size))
    enough = tuple(range(least, config.max_batch_size + 1))
    return DynamicBatching(enough, strategy.max_queue_delay_microseconds)
