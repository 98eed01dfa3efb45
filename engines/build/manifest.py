"""manifest.json of a built version: what it was made from and what was made, so that it is made only once."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.build.variants import Variant

MANIFEST = "manifest.json"
FORMAT = 1


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


def origin(inputs: Mapping[str, str], variant: Variant) -> Origin:
    """The origin of a variant built here and now from files with the digests `inputs`."""
    settings = {"backend": variant.backend, "precision": variant.precision}
    return Origin(inputs, settings, {name: _version(name) for name in variant.tools}, _recipe())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by the path relative to `root`."""
    return {path.as_posix(): digest(root / path) for path in files}


def write_manifest(folder: Path, source: Origin) -> None:
    """Describes all files of `folder`, in `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    artefacts = {
        path.relative_to(folder).as_posix(): asdict(Artefact(digest(path), path.stat().st_size)) for path in files
    }
    content = {"format": FORMAT, "origin": asdict(source), "artefacts": artefacts}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def is_current(folder: Path, source: Origin) -> bool:
    """Was `folder` made from `source`, and is all of it still there? Artefacts are compared by size only."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        if content["format"] != FORMAT or content["origin"] != asdict(source):
            return False
        return all((folder / name).stat().st_size == made["size"] for name, made in content["artefacts"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _recipe() -> str:
    """One digest of the code that writes artefacts."""
    code = hashlib.sha256()
    for name in ("../encoder_source.py", "graph.py", "packed_encoder.py", "variants.py"):
        code.update((Path(__file__).parent / name).read_bytes())
    return code.hexdigest()
