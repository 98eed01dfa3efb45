"""manifest.json of a model version: are its files still the ones that it lists? Written by `batchyard build`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from engines.errors import ModelLoadError
from engines.model_files import file_inside

MANIFEST = "manifest.json"

_ANEW = "build it anew (batchyard build NAME), or remove manifest.json to serve the files as they are"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; reads it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_manifest(folder: Path) -> None:
    """Raises `ModelLoadError` where a file of the version `folder` is not as its manifest says, or is not in it.

    A folder without one passes, and so does a manifest.json that lists no artefacts: it is somebody else's. Blocks for
    as long as reading all files takes.
    """
    made = _artefacts(folder)
    if made is None:
        return
    for name, artefact in made.items():
        _check(folder, name, artefact)
    more = sorted(_present(folder) - set(made))
    if more:
        raise ModelLoadError(f"{MANIFEST} in {folder.name!r} does not list {more[0]!r}, which is there; {_ANEW}")


def _artefacts(folder: Path) -> dict[str, Any] | None:
    if not (folder / MANIFEST).exists():
        return None
    try:
        content = json.loads(file_inside(folder, MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        text = f"{MANIFEST} in {folder.name!r} cannot be read: {type(error).__name__}; {_ANEW}"
        raise ModelLoadError(text) from None
    if not isinstance(content, dict) or "artefacts" not in content:
        return None
    made = content["artefacts"]
    if not isinstance(made, dict):
        raise ModelLoadError(f"{MANIFEST} in {folder.name!r}: artefacts is no object of files; {_ANEW}")
    return made


def _check(folder: Path, name: str, artefact: object) -> None:
    wanted = artefact.get("sha256") if isinstance(artefact, dict) else None
    if not isinstance(wanted, str):
        raise ModelLoadError(f"{MANIFEST} in {folder.name!r} gives no sha256 of {name!r}; {_ANEW}")
    path = file_inside(folder, name)
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ModelLoadError(f"{name!r} cannot be read: {error.strerror}; check its permissions") from None
    if found != wanted:
        text = f"{name!r} in {folder.name!r} is not the file that was built: its SHA-256 is {found}, {MANIFEST} says"
        raise ModelLoadError(f"{text} {wanted}; {_ANEW}")


def _present(folder: Path) -> set[str]:
    """The files that an engine may find there; not hidden ones, and not what Python keeps beside its code."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return {
        path.as_posix()
        for path in found
        if path.name != MANIFEST and not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    }
