"""Puts built files into the repository: all of a version or none of it, and one build at a time."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

STAGING = ".build-"


@contextmanager
def locked(repository: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the repository against other builds; `waiting` is called where another one holds it now."""
    repository.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(repository, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def staging(model: Path) -> Iterator[Path]:
    """An empty folder on the file system of the model's folder, which is made if need be and goes if it stays empty.

    What an interrupted build left is removed. Hold the repository's lock.
    """
    model.mkdir(parents=True, exist_ok=True)
    for left in model.glob(f"{STAGING}*"):
        shutil.rmtree(left)
    folder = Path(mkdtemp(prefix=STAGING, dir=model))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            model.rmdir()


def place_folder(made: Path, target: Path) -> None:
    """Moves `made` to `target`; the folder that was there goes, or stays where the move fails."""
    old = made.with_name(f"{made.name}-old")
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(made, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def place_file(made: Path, target: Path) -> None:
    """Moves `made` to `target`, in the place of what was there."""
    os.replace(made, target)
