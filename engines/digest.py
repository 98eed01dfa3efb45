"""What a version of a model is made of, in one number: two with the same digest give the same answers."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from engines.model_config import ModelConfig

_CHUNK = 1 << 20


def digest_of_files(config: ModelConfig, folder: Path, version: str) -> bytes:
    """SHA-256 over the configuration and all files of `folder`, but for those of other versions. Blocks for as long as
    reading them takes; raises `OSError`."""
    digest = sha256(config.proto.SerializeToString(deterministic=True))
    for path in _files(folder, version):
        name = os.fsencode(path.relative_to(folder))
        digest.update(b"%d:%b%d:" % (len(name), name, path.stat().st_size))
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.digest()


def _files(folder: Path, version: str) -> Iterator[Path]:
    """In the order of their names; a folder that is linked to is looked into, once."""
    seen: set[Path] = set()
    for at, folders, names in os.walk(folder, followlinks=True):
        place = Path(at)
        if place == folder:
            folders[:] = [name for name in folders if name == version or not name.isdigit()]
        real = place.resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (path for name in sorted(names) if (path := place / name).is_file())
