"""Where a model is opened from: its folder in the repository, or one that holds what a caller sent. Blocking."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engines.errors import ModelLoadError
from engines.model_files import check_relative
from engines.repository import CONFIG_FILE, ModelEntry, entry_with, scan_all
from service import triton_words
from service.catalog import nothing
from service.errors import InvalidRequestError, LoadFailedError, NotFoundError
from service.overrides import Overrides

_NAME = re.compile(r"[\w-][\w. +:@-]{0,254}")
_DEEPEST = 16
"""Folders that a file which a caller sent may lie in."""


@dataclass(frozen=True, slots=True)
class Source:
    """`release`: called once the model is closed; removes what was written for it."""

    entry: ModelEntry
    release: Callable[[], None] = nothing


def find(roots: Sequence[Path], name: str, overrides: Overrides) -> Source:
    """The model as it is now, but for what is overridden.

    Raises `NotFoundError`, `InvalidRequestError`, and `LoadFailedError` where the files cannot be written.
    """
    if overrides.files:
        return _written(name, overrides)
    found = {entry.name: entry for entry in scan_all(roots)}
    if name not in found:
        text = f"the model repository has no {name!r}; it has {', '.join(found) or 'none'}"
        raise NotFoundError(text).as_triton(triton_words.not_polled(name))
    entry = found[name]
    if overrides.config is None:
        return Source(entry)
    twice = sum((root / name).is_dir() for root in roots) > 1
    return Source(entry if twice else entry_with(entry.folder, overrides.config, entry.config))


def _written(name: str, overrides: Overrides) -> Source:
    """A folder of the caller's files."""
    if overrides.config is None:
        text = "files are sent without a config; send the parameter config with them"
        raise InvalidRequestError(text, "config").as_triton(triton_words.not_polled(name))
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"{name!r} can be no model's name; use letters, digits, - _ . : and @")
    for path in overrides.files:
        _check_path(path)
    home = tempfile.TemporaryDirectory(prefix="batchyard-", ignore_cleanup_errors=True)
    folder = Path(home.name) / name
    try:
        _write(folder, overrides.files)
    except OSError as error:
        home.cleanup()
        text = f"the files of model {name!r} cannot be written: {error.strerror}"
        raise LoadFailedError(text).as_triton(triton_words.not_polled(name)) from None
    return Source(entry_with(folder, overrides.config), home.cleanup)


def _check_path(path: str) -> None:
    param = f"file:{path}"
    try:
        check_relative(path)
    except ModelLoadError as error:
        raise InvalidRequestError(str(error), param) from None
    parts = PurePosixPath(path).parts
    if not path.isprintable() or len(path) > 1024 or len(parts) > _DEEPEST:
        raise InvalidRequestError(f"{path[:100]!r} is too long, too deep, or has characters that do not print", param)
    if path.endswith("/") or parts == (CONFIG_FILE,):
        raise InvalidRequestError(f"{path!r} is no model file; name one, such as 1/model.onnx", param)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Into a folder that nobody else knows: there are no links in it."""
    folder.mkdir()
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
