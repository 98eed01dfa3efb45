"""Opening one version of a model that generates text: a generator of this process, or of another server."""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

from engines import open_generator, open_remote
from engines.base import EngineOptions
from engines.language import open_language
from engines.model_config import ModelConfig, TextGeneration
from engines.text_generator import TextGenerator
from service.cores import CoreBudget
from service.generation.intake import GenerationIntake
from service.generation.remote import RemoteReplica
from service.generation.replica import GeneratorReplica, Opened, Surroundings
from service.opening import Machine, computes_on_cpu, placements
from service.owner import open_owned

REMOTE = "openai_upstream"


async def open_generation(
    config: ModelConfig,
    folder: Path,
    version: str,
    machine: Machine,
    step_done: Callable[[int, float], None],
    warming: CoreBudget,
) -> GeneratorReplica | RemoteReplica:
    """Opens a version behind a queue; raises `engines.errors.ModelLoadError`. `step_done`: see `Surroundings`.

    `warming`: the cores that warming up takes.
    """
    # A generator batches on one device: the first that is named.
    options = EngineOptions(config, folder / version, next(placements(config)), config.threads or machine.core_count)
    if config.backend == REMOTE:
        remote = open_remote(options)
        await remote.open()
        return RemoteReplica(f"{config.name}:{version}", remote, config, machine.clock)
    opened = await asyncio.to_thread(_open_local, options, folder, version, warming)
    around = Surroundings(machine.cores, machine.clock, machine.stream_buffer, step_done, _call_id)
    return GeneratorReplica((config.name, version, config.backend), opened, around)


def _open_local(options: EngineOptions, folder: Path, version: str, warming: CoreBudget) -> Opened:
    config = options.config
    settings = config.generation or TextGeneration()
    language = open_language(config, folder, version)
    threads = options.threads if computes_on_cpu(config) and not options.device else 0
    owned = open_owned(f"{config.name}:{version}", partial(_open_warm, options, warming, threads))
    generator = owned.engine
    intake = GenerationIntake(
        config, language, generator.limits, generator.features, generator.check, partial(secrets.randbelow, 2**62)
    )
    reopen = partial(open_generator, options)
    return Opened(owned, reopen, threads, settings.max_waiting, intake, language)


def _open_warm(options: EngineOptions, warming: CoreBudget, threads: int) -> TextGenerator:
    generator = open_generator(options)
    try:
        with warming.taken(threads):
            generator.warm_up()
    except BaseException:
        generator.close()
        raise
    return generator


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
