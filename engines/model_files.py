"""Files of a model folder, opened only where they lie inside it."""

from pathlib import Path, PurePosixPath

from engines.errors import ModelLoadError

_ABSENT = "put it there, build the model (batchyard build NAME), or correct the name"


def check_relative(name: str) -> None:
    """Raises `ModelLoadError` where `name` leads out of the folder it is looked for in, or names that folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ModelLoadError(f"{name!r} is no path inside its folder; use a relative path, without ..")


def path_inside(folder: Path, name: str) -> Path:
    """The existing file or folder `name` in `folder`.

    Raises `ModelLoadError` where it is absent or leads out of `folder`: by an absolute path, by `..` or over a link.
    """
    check_relative(name)
    try:
        home = folder.resolve(strict=True)
        found = (home / name).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links, before Python 3.13
        raise ModelLoadError(f"{name!r} is not in {folder.name!r}; {_ABSENT}") from None
    if not found.is_relative_to(home):
        raise ModelLoadError(f"{name!r} is a link that leads out of {folder.name!r}; copy what it points to there")
    return folder / name


def file_inside(folder: Path, name: str) -> Path:
    """As `path_inside`, and a plain file."""
    path = path_inside(folder, name)
    if not path.is_file():
        raise ModelLoadError(f"{name!r} in {folder.name!r} is not a plain file; put the file there or correct the name")
    return path


def read_text(path: Path) -> str:
    """The file's text; raises `ModelLoadError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"{path.name!r} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise ModelLoadError(f"{path.name!r} cannot be read: {error.strerror}; check its permissions") from None
