"""manifest.json of a built version: what it was made from, what was made, and how good it is."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engines.build.variants import Variant
from engines.model_manifest import MANIFEST, sha256_of

FORMAT = 2
_HERE = Path(__file__).parent
_SHARED_CODE = ("../encoder_source.py", "gate_table.py", "graph.py", "packed_encoder.py", "writers.py")
_CALIBRATION_CODE = ("calibration*.py", "materials.py")


@dataclass(frozen=True, slots=True)
class Origin:
    """All that decides the artefacts. `inputs`: SHA-256 of the source's files; `tools`: versions; `recipe`: SHA-256."""

    inputs: Mapping[str, str]
    settings: Mapping[str, str]
    tools: Mapping[str, str]
    recipe: str


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that was made; `size` in bytes."""

    sha256: str
    size: int


def origin(inputs: Mapping[str, str], variant: Variant, calibration: Mapping[str, str]) -> Origin:
    """The origin of a variant built here and now from files with the digests `inputs`.

    `calibration`: what the texts to calibrate with are, for a variant that needs them.
    """
    settings = {"backend": variant.engine.backend, "precision": variant.precision}
    code = [*_SHARED_CODE, *variant.engine.code]
    if variant.calibrated:
        settings |= calibration
        code += _CALIBRATION_CODE
    tools = {name: found for name in variant.tools if (found := version_of(name))}
    return Origin(inputs, settings, tools, recipe(code))


def digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by the path relative to `root`."""
    return {path.as_posix(): sha256_of(root / path) for path in files}


def digest_of(*texts: str) -> str:
    """SHA-256 of texts in this order."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def describe(folder: Path, source: Origin) -> dict[str, Any]:
    """The manifest of all files of `folder`, for `write_manifest`; more may be added to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    artefacts = {
        path.relative_to(folder).as_posix(): asdict(Artefact(sha256_of(path), path.stat().st_size)) for path in files
    }
    return {"format": FORMAT, "origin": asdict(source), "artefacts": artefacts}


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes manifest.json into `folder`."""
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest in `folder`, None where there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("format") == FORMAT else None


def is_current(folder: Path, source: Origin) -> bool:
    """Was `folder` made from `source`, compared, and is all of it still there? Artefacts are compared by size only."""
    content = read_manifest(folder)
    try:
        if content is None or content["origin"] != asdict(source) or "gate" not in content:
            return False
        return all((folder / name).stat().st_size == made["size"] for name, made in content["artefacts"].items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def version_of(distribution: str) -> str:
    """Its version, "" where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def recipe(names: Iterable[str]) -> str:
    """One digest of the code in files of this folder; `names` may be patterns."""
    code = hashlib.sha256()
    for name in names:
        for path in [_HERE / name] if name.startswith("..") else sorted(_HERE.glob(name)):
            code.update(path.read_bytes())
    return code.hexdigest()
