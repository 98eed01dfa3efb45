"""`batchyard build`: makes the models of a repository from encoder weights, each once, each whole or not at all."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from engines.build.encoder_folder import TOKENIZER, EncoderFolder, encoder_folder, shipped_folder, window_of
from engines.build.errors import BuildError
from engines.build.manifest import MANIFEST, Origin, digests, is_current, origin, write_manifest
from engines.build.placing import locked, place_file, place_folder, staging
from engines.build.progress import progress_bar, say
from engines.build.template import config_text
from engines.build.variants import VARIANTS, Variant
from engines.errors import EngineError
from engines.repository import CONFIG_FILE

SHIPPED_NAME = "minilm"
SHIPPED: Mapping[str, Variant] = MappingProxyType({f"{SHIPPED_NAME}_{v.suffix}": v for v in VARIANTS.values()})
"""The shipped models that have files to build."""
DEFAULT_ENGINES = ("onnxruntime", "openvino", "pytorch")
VERSION = "1"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Target:
    """A model to build: its name in the repository, and how it runs."""

    name: str
    variant: Variant


def build_shipped(names: Sequence[str], repository: Path, console: Console) -> None:
    """Builds those of `names`, or all shipped models, that are missing or out of date.

    A name of the repository that has nothing to build is said and passed over. Raises `BuildError` at the end, one
    line, where a model could not be built; its old version is left as it was, the others are built.
    """
    targets = [Target(name, SHIPPED[name]) for name in names or SHIPPED if name in SHIPPED]
    for name in names:
        if name not in SHIPPED:
            _check_nothing_to_build(name, repository)
            say(console, name, "nothing to build")
    if targets:
        _build_all(targets, shipped_folder(), repository, console)


def build_encoder(source: Path, name: str, engines: Sequence[str], repository: Path, console: Console) -> None:
    """Adds the Hugging Face encoder in `source` as models NAME_onnx, NAME_openvino and so on, one an engine.

    `engines`: of `VARIANTS`, () for `DEFAULT_ENGINES`. Prints the route for gateway.toml. Raises as `build_shipped`.
    """
    if not _NAME.fullmatch(name):
        raise BuildError(f"--name {name!r}: use letters, digits, '_', '-' and '.', a letter or digit first")
    if name == SHIPPED_NAME:
        raise BuildError(f"--name {name!r} is that of the shipped models; choose another name")
    unknown = [engine for engine in engines if engine not in VARIANTS]
    if unknown:
        raise BuildError(f"--engines: {unknown[0]!r} is unknown; known are {', '.join(VARIANTS)}")
    variants = [VARIANTS[engine] for engine in dict.fromkeys(engines or DEFAULT_ENGINES)]
    targets = [Target(f"{name}_{variant.suffix}", variant) for variant in variants]
    _build_all(targets, encoder_folder(source), repository, console)
    listed = ", ".join(f'"{target.name}"' for target in targets)
    console.print("To serve them under one name, add to gateway.toml:", highlight=False)
    console.print(f"\n[routes.{name}]\nvariants = [{listed}]\n", markup=False, highlight=False, soft_wrap=True)


def _check_nothing_to_build(name: str, repository: Path) -> None:
    if not (repository / name / CONFIG_FILE).is_file():
        raise BuildError(
            f"unknown model {name!r}; shipped are {', '.join(SHIPPED)}"
            " (your own encoder: batchyard build --from DIR --name NAME)"
        )


def _build_all(targets: Sequence[Target], source: EncoderFolder, repository: Path, console: Console) -> None:
    failures = []
    try:
        inputs = digests(source.root, source.files)
        with locked(repository, lambda: say(console, str(repository), "waiting for another build to end")):
            for target in targets:
                try:
                    _build(target, source, inputs, repository, console)
                except EngineError as error:
                    failures.append(f"{target.name}: {error}")
    except OSError as error:
        raise _disk_error(error) from error
    if failures:
        raise BuildError("; ".join(failures))


def _build(
    target: Target, source: EncoderFolder, inputs: Mapping[str, str], repository: Path, console: Console
) -> None:
    """Builds one model unless it is there and current."""
    model = repository / target.name
    version = model / VERSION
    made_from = origin(inputs, target.variant)
    files = (model / TOKENIZER, model / CONFIG_FILE)
    if is_current(version, made_from) and all(file.is_file() for file in files):
        say(console, target.name, "up to date", "dim")
        return
    _check_ours(model, version)
    started = time.perf_counter()
    try:
        _make(target, source, made_from, model, console)
    except OSError as error:
        raise _disk_error(error) from error
    say(console, target.name, f"built in {time.perf_counter() - started:.1f} s", "green")


def _make(target: Target, source: EncoderFolder, made_from: Origin, model: Path, console: Console) -> None:
    with staging(model) as folder, progress_bar(console, target.name) as show:
        encoder = source.read()
        made = folder / VERSION
        made.mkdir()
        target.variant.write(source, made, show)
        write_manifest(made, made_from)
        (folder / TOKENIZER).write_bytes(source.tokenizer.read_bytes())
        config = config_text(target.name, target.variant, encoder.hidden, window_of(source, len(encoder.positions)))
        (folder / CONFIG_FILE).write_text(config, encoding="utf-8")
        place_folder(made, model / VERSION)
        place_file(folder / TOKENIZER, model / TOKENIZER)
        if not (model / CONFIG_FILE).exists():
            place_file(folder / CONFIG_FILE, model / CONFIG_FILE)
        elif (model / CONFIG_FILE).read_text(encoding="utf-8") != config:
            say(console, target.name, f"kept its {CONFIG_FILE}, which is not as a new one would be", "yellow")


def _check_ours(model: Path, version: Path) -> None:
    """Raises `BuildError` where the version's folder holds what no build put there."""
    if version.is_dir() and any(version.iterdir()) and not (version / MANIFEST).is_file():
        raise BuildError(f"{version}: holds files that no build made; move them away, or build under another name")
    if version.exists() and not version.is_dir():
        raise BuildError(f"{version}: is no folder; move it away, or build under another name than {model.name!r}")


def _disk_error(error: OSError) -> BuildError:
    where = f"{error.filename}: " if error.filename else ""
    return BuildError(f"{where}{error.strerror or error}; check the disk's space and permissions, then build again")
