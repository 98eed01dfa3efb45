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
from service.generation.intake import GenerationIntake
from service.generation.remote import RemoteReplica
from service.generation.replica import GeneratorReplica, Opened, Surroundings
from service.opening import Machine
from service.owner import Owner

REMOTE = "openai_upstream"


async def open_generation(
    config: ModelConfig, folder: Path, version: str, machine: Machine, step_done: Callable[[int, float], None]
) -> GeneratorReplica | RemoteReplica:
    """Opens a version behind a queue; raises `engines.errors.ModelLoadError`. `step_done`: see `Surroundings`."""
    options = EngineOptions(config, folder / version, _device(config), config.threads or machine.core_count)
    if config.backend == REMOTE:
        remote = open_remote(options)
        await remote.open()
        return RemoteReplica(f"{config.name}:{version}", remote, config, machine.clock)
    opened = await asyncio.to_thread(_open_local, options, folder, version, machine)
    around = Surroundings(machine.cores, machine.clock, machine.stream_buffer, step_done, _call_id)
    return GeneratorReplica((config.name, version, config.backend), opened, around)


def _device(config: ModelConfig) -> str:
    """The first GPU of the first instance group, "" for the CPU: a generator batches on one device."""
    group = config.instance_groups[0] if config.instance_groups else None
    if group is None or not (group.gpus or group.kind == "KIND_GPU"):
        return ""
    return str(group.gpus[0]) if group.gpus else "0"


def _open_local(options: EngineOptions, folder: Path, version: str, machine: Machine) -> Opened:
    config = options.config
    settings = config.generation or TextGeneration()
    language = open_language(config, folder, version)
    owner = Owner(f"{config.name}:{version}")
    threads = options.threads if config.device in ("", "CPU") and not options.device else 0
    try:
        generator = owner.call(partial(_open_warm, options, machine, threads))
    except BaseException:
        owner.stop()
        raise
    intake = GenerationIntake(
        config, language, generator.limits, generator.features, generator.check, partial(secrets.randbelow, 2**62)
    )
    reopen = partial(open_generator, options)
    return Opened(generator, owner, reopen, threads, settings.max_waiting, intake, language)


def _open_warm(options: EngineOptions, machine: Machine, threads: int) -> TextGenerator:
    generator = open_generator(options)
    machine.cores.acquire(threads)
    try:
        generator.warm_up()
    except BaseException:
        generator.close()
        raise
    finally:
        machine.cores.release(threads)
    return generator


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
