"""Opening one version of a model: its engines, warmed and measured, behind a queue. Blocking parts run on a thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from engines import complete_config, open_call_engine, open_engine, takes_calls
from engines.base import AnyEngine, EngineOptions
from engines.batch import Batch
from engines.calls import Ask, CallEngine, ask_nobody
from engines.cores import threads_per_instance
from engines.model_config import DynamicBatching, InstanceGroup, ModelConfig
from engines.sequence_tensors import with_sequence_tensors
from engines.text import Tokenizer
from engines.warmup import warmup_batches
from service.batching.batcher import Batcher
from service.batching.compose import Composer, SingleComposer, StackComposer
from service.batching.cost import CostModel, Shape
from service.batching.pack import PackComposer
from service.batching.pad import PadComposer
from service.cores import CoreBudget
from service.intake import Intake, TensorIntake
from service.owner import Owned, open_owned
from service.text_intake import text_intake

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Machine:
    """What all models share: the cores, the clock, and the bounds of their queues.

    `max_queue`: parts that each model's queue holds. `stream_buffer`: events of one stream that wait for its reader.
    `new_ask`: makes what one model asks others by.
    """

    cores: CoreBudget
    core_count: int
    clock: Clock
    max_queue: int
    stream_buffer: int = 1024
    new_ask: Callable[[], Ask] = lambda: ask_nobody


@dataclass(frozen=True, slots=True)
class Opened:
    """Engines ready to run, with what feeds them. `threads`: CPU cores one batch takes, 0 where a device computes, or a
    process that may wait for other models. `config`: with what the model says of itself.
    """

    config: ModelConfig
    intake: Intake
    engines: list[Owned[AnyEngine]]
    batcher: Batcher
    threads: int


def open_version(config: ModelConfig, folder: Path, version: str, machine: Machine, warming: CoreBudget) -> Opened:
    """Opens a version; raises `engines.errors.ModelLoadError`. Blocks for as long as loading and warming take.

    `warming`: the cores that warming up takes.
    """
    config = complete_config(config, folder / version)
    calls = takes_calls(config)
    devices = list(placements(config))
    threads = config.threads or threads_per_instance(machine.core_count, len(devices))
    options = EngineOptions(
        with_sequence_tensors(config),
        folder / version,
        threads=threads,
        lone_threads=machine.core_count,
        alone=partial(machine.cores.is_only, threads),
        ask=machine.new_ask(),
    )
    on_cpu = computes_on_cpu(config) and not any(devices) and not calls
    cost = CostModel()
    intake = open_intake(config, folder, version, machine.max_queue)
    engines: list[Owned[AnyEngine]] = []
    try:
        for number, (device, name) in enumerate(zip(devices, instance_names(config), strict=True)):
            create: Callable[[EngineOptions], AnyEngine] = open_call_engine if calls else open_engine
            create_this = partial(create, replace(options, device=device, instance=name))
            engines.append(open_owned(f"{config.name}:{version}#{number}", create_this))
        with warming.taken(machine.core_count if on_cpu else 0):
            for owned in engines:
                owned.owner.call(owned.engine.warm_up)
            engines[0].owner.call(partial(_measure, engines[0].engine, options.config, cost, machine.clock))
    except BaseException:
        for owned in engines:
            owned.owner.start(owned.engine.close)
        raise
    settings = config.dynamic_batching or DynamicBatching()
    batcher = Batcher(composer(config), cost, machine.max_queue, len(engines), settings)
    return Opened(config, intake, engines, batcher, threads if on_cpu else 0)


def computes_on_cpu(config: ModelConfig) -> bool:
    """Does the model name no other device? Its instance groups still may."""
    return config.device in ("", "CPU")


def placements(config: ModelConfig) -> Iterator[str]:
    """The device of each engine instance: "" for the CPU, else a GPU's number, the first where none is named."""
    for group in config.instance_groups or (InstanceGroup(),):
        gpus = group.gpus or ((0,) if group.kind == "KIND_GPU" else ())
        for device in [str(gpu) for gpu in gpus] or [""]:
            for _ in range(group.count):
                yield device


def instance_names(config: ModelConfig) -> Iterator[str]:
    """The name of each instance, in the order of `placements`; Triton's, where the group has none."""
    declared = bool(config.proto.instance_group)
    for index, group in enumerate(config.instance_groups or (InstanceGroup(),)):
        name = group.name or (f"{config.name}_{index}" if declared else config.name)
        for number in range(group.count * max(1, len(group.gpus))):
            yield f"{name}_{number}"


def open_intake(config: ModelConfig, folder: Path, version: str, most_texts: int) -> Intake:
    """The door that the model's configuration asks for; raises `ModelLoadError`."""
    if config.text is None:
        return TensorIntake(config.signature)
    tokenizer = Tokenizer.from_file(
        folder / config.text.tokenizer, config.text.max_tokens, truncate=config.text.truncate
    )
    return text_intake(config, tokenizer, most_texts, folder / version)


def composer(config: ModelConfig) -> Composer:
    """How batches of this model are composed: Triton's settings, and packing or padding where declared."""
    if config.packing is not None:
        return PackComposer(config.packing)
    if config.max_batch_size == 0 or config.dynamic_batching is None:
        stacked = stacking(config, ())
        plain = not (stacked.ragged or config.batch_inputs or config.batch_outputs)
        return SingleComposer(config.max_batch_size, None if plain else stacked)
    if config.padding:
        sequences = frozenset(spec.name for spec in config.outputs if spec.shape[:1] == (-1,))
        return PadComposer(config.max_batch_size, config.padding, sequences)
    return stacking(config, config.dynamic_batching.preferred_batch_sizes)


def stacking(config: ModelConfig, preferred: tuple[int, ...]) -> StackComposer:
    """Lays requests one after another, in batches of the sizes that are preferred; ragged inputs end to end."""
    ragged = frozenset(spec.name for spec in config.inputs if spec.ragged)
    return StackComposer(config.max_batch_size, preferred, ragged, config.batch_inputs, config.batch_outputs)


def _measure(engine: AnyEngine, config: ModelConfig, cost: CostModel, clock: Clock) -> None:
    """Seeds the cost model: the smallest and the largest batch of each width, so that no first request is guessed.

    Not of an engine that takes requests one by one: running its code is seen by the model, and may be by others.
    """
    if isinstance(engine, CallEngine):
        return
    for shape, batch in _extremes(warmup_batches(config), config):
        start = clock()
        engine.run(batch)
        cost.record(shape, clock() - start)


def _extremes(batches: Iterator[Batch], config: ModelConfig) -> list[tuple[Shape, Batch]]:
    by_width: dict[int, list[tuple[Shape, Batch]]] = {}
    for batch in batches:
        shape = _shape(batch, config)
        by_width.setdefault(shape.width, []).append((shape, batch))
    ordered = [sorted(group, key=lambda pair: pair[0].rows) for group in by_width.values()]
    return [pair for group in ordered for pair in (group if len(group) == 1 else (group[0], group[-1]))]


def _shape(batch: Batch, config: ModelConfig) -> Shape:
    by_length = ("segment_ids",) if config.packing else tuple(config.padding)
    return Shape(batch.size, batch.inputs[by_length[0]].shape[1]) if by_length else Shape(batch.size)
