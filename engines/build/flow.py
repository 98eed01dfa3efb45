"""`batchyard build`: makes the models of a repository from encoder weights, each once, each whole or not at all."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from engines.build.baselines import against_chance, layer_errors
from engines.build.corpora import Corpora, read_corpora
from engines.build.encoder_folder import TOKENIZER, EncoderFolder, encoder_folder, shipped_folder
from engines.build.errors import BuildError
from engines.build.gate import Gate, why_not_here
from engines.build.gate_table import write_gate_table
from engines.build.manifest import (
    Origin,
    describe,
    digests,
    is_current,
    origin,
    read_manifest,
    write_manifest,
)
from engines.build.materials import FamilyMaterials
from engines.build.placed import place
from engines.build.placing import locked, place_file, place_folder, staging
from engines.build.progress import Show, progress_bar, say
from engines.build.request import Request, Target, placed_of, targets_of
from engines.build.template import config_text
from engines.build.variants import Variant
from engines.errors import EngineError
from engines.model_manifest import MANIFEST
from engines.repository import CONFIG_FILE, read_config

VERSION = "1"
_LAYER_TEXTS = 32
"""Texts on which the layers of int8 models are compared."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What the builds of one family's models share."""

    source: EncoderFolder
    inputs: Mapping[str, str]
    corpora: Corpora
    materials: FamilyMaterials
    gate: Gate
    recheck: bool


def build(request: Request, repository: Path, console: Console) -> None:
    """Builds the models asked for that are missing or out of date; each is compared with the original first.

    A name of the repository that has nothing to build is said and passed over. Raises `BuildError` at the end, one
    line, where a model could not be built or is worse than declared; its old version is left as it was, the others are
    built; `WrongRequestError` before any work. For an encoder of the user's own, prints the route for gateway.toml.
    """
    targets, others = targets_of(request, repository)
    for name in others:
        say(console, name, "nothing to build")
    failures = _place_all(placed_of(request), repository, console)
    if targets:
        source = encoder_folder(request.source) if request.source else shipped_folder()
        failures += _build_all(request, targets, source, repository, console)
    if failures:
        raise BuildError("; ".join(failures))
    if request.source is not None:
        _show_route(targets, repository, console)


def _place_all(names: Sequence[str], repository: Path, console: Console) -> list[str]:
    failures = []
    for name in names:
        try:
            with locked(repository, lambda: say(console, str(repository), "waiting for another build to end")):
                place(name, repository, console)
        except OSError as error:
            failures.append(f"{name}: {_disk_error(error)}")
        except BuildError as error:
            failures.append(str(error))
    return failures


def _show_route(targets: Sequence[Target], repository: Path, console: Console) -> None:
    """Models whose answers depend on batch mates are left out: who wants one in a route names it."""
    manifests = {target.name: read_manifest(repository / target.name / VERSION) or {} for target in targets}
    steady = [name for name, manifest in manifests.items() if not manifest.get("gate", {}).get("batch_dependent")]
    if not steady:
        return
    listed = ", ".join(f'"{name}"' for name in steady)
    console.print("To serve them under one name, add to gateway.toml:", highlight=False)
    route = f"\n[routes.{targets[0].family}]\nvariants = [{listed}]\n"
    console.print(route, markup=False, highlight=False, soft_wrap=True)


def _build_all(
    request: Request, targets: Sequence[Target], source: EncoderFolder, repository: Path, console: Console
) -> list[str]:
    failures = []
    corpora = read_corpora(request.calibration, request.check)
    try:
        inputs = digests(source.root, source.files)
        with locked(repository, lambda: say(console, str(repository), "waiting for another build to end")):
            name = targets[0].family
            materials = FamilyMaterials(name, source, inputs, repository, corpora.calibration)
            gate = Gate(name, materials, corpora.held_out, repository, request.max_drop)
            family = _Family(source, inputs, corpora, materials, gate, request.check is not None)
            for target in targets:
                try:
                    _build(target, family, repository / target.name, console)
                except EngineError as error:
                    failures.append(f"{target.name}: {error}")
            materials.tidy()
    except OSError as error:
        raise _disk_error(error) from error
    return failures


def _build(target: Target, family: _Family, model: Path, console: Console) -> None:
    """Builds one model unless it is there and current."""
    version = model / VERSION
    made_from = origin(family.inputs, target.variant, family.corpora.origin)
    files = (model / TOKENIZER, model / CONFIG_FILE)
    started = time.perf_counter()
    try:
        if is_current(version, made_from) and all(file.is_file() for file in files):
            done = _check_again(target, family, model, console)
        else:
            _check_ours(model, version)
            _make(target, family, made_from, model, console)
            done = "built"
    except OSError as error:
        raise _disk_error(error) from error
    if done:
        say(console, target.name, f"{done} in {time.perf_counter() - started:.1f} s", "green")
    else:
        say(console, target.name, "up to date", "dim")


def _check_again(target: Target, family: _Family, model: Path, console: Console) -> str:
    """Compares a model that is there with the original, if it is asked for or was not possible; says what was done."""
    manifest = read_manifest(model / VERSION) or {}
    figures = manifest["gate"]
    measured = "not_measured" not in figures
    if measured and (family.gate.is_about(figures) or not family.recheck):
        family.gate.check(figures, read_config(model).tolerance)
        return ""
    if not measured and why_not_here(model):
        return ""
    with progress_bar(console, target.name) as show:
        manifest["gate"] = family.gate.admit(model, show)
    with staging(model) as folder:
        write_manifest(folder, manifest)
        place_file(folder / MANIFEST, model / VERSION / MANIFEST)
    return "measured"


def _make(target: Target, family: _Family, made_from: Origin, model: Path, console: Console) -> None:
    with staging(model) as folder, progress_bar(console, target.name) as show:
        materials = family.materials
        staged = folder / target.name
        made = staged / VERSION
        made.mkdir(parents=True)
        target.variant.engine.write(materials, made, target.variant.precision, show)
        write_gate_table(materials.encoder, made)
        (staged / TOKENIZER).write_bytes(family.source.tokenizer.read_bytes())
        config = config_text(target.name, target.variant, materials.encoder.hidden, materials.window)
        kept = model / CONFIG_FILE
        text = kept.read_text(encoding="utf-8") if kept.exists() else config
        (staged / CONFIG_FILE).write_text(text, encoding="utf-8")
        manifest = describe(made, made_from)
        manifest["gate"] = family.gate.admit(staged, show)
        if target.variant.calibrated:
            manifest |= _worth(target.variant, family, staged, folder / "by-chance", show)
        write_manifest(made, manifest)
        if manifest["gate"].get("batch_dependent"):
            say(console, target.name, "its answers depend on what else is in the batch", "yellow")
        place_folder(made, model / VERSION)
        place_file(staged / TOKENIZER, model / TOKENIZER)
        if not kept.exists():
            place_file(staged / CONFIG_FILE, kept)
        elif text != config:
            say(console, target.name, f"kept its {CONFIG_FILE}, which is not as a new one would be", "yellow")


def _worth(variant: Variant, family: _Family, staged: Path, scratch: Path, show: Show) -> dict[str, Any]:
    """What compensation and the choice of samples did for an int8 model, for its manifest."""
    texts = family.corpora.held_out.texts[:_LAYER_TEXTS]
    return {
        "layers": layer_errors(variant, family.materials, staged, texts, show),
        "by_chance": against_chance(variant, family.materials, family.gate, staged, scratch, show),
    }


def _check_ours(model: Path, version: Path) -> None:
    """Raises `BuildError` where the version's folder holds what no build put there."""
    if version.is_dir() and any(version.iterdir()) and not (version / MANIFEST).is_file():
        raise BuildError(f"{version}: holds files that no build made; move them away, or build under another name")
    if version.exists() and not version.is_dir():
        raise BuildError(f"{version}: is no folder; move it away, or build under another name than {model.name!r}")


def _disk_error(error: OSError) -> BuildError:
    where = f"{error.filename}: " if error.filename else ""
    return BuildError(f"{where}{error.strerror or error}; check the disk's space and permissions, then build again")
