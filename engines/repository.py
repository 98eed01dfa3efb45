"""Triton model repositories on disk: which models there are, how each is configured, which versions are served."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.config.json_form import parse_json
from engines.config.pbtxt import parse
from engines.config.problems import one_line
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig, VersionPolicy
from engines.model_files import file_inside, path_inside, read_text

CONFIG_FILE = "config.pbtxt"

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of a repository. `versions`: those served, ascending. `error` "" is a model that can be opened.

    With an error there are no versions, and `config` is None unless config.pbtxt itself is good.
    """

    name: str
    folder: Path
    config: ModelConfig | None
    versions: tuple[int, ...]
    error: str = ""


def scan(root: Path) -> list[ModelEntry]:
    """The models of the repository `root`, by name; a bad one is an entry with an error and stops no other.

    Raises `ModelLoadError` where `root` itself cannot be listed.
    """
    try:
        folders = sorted(path for path in root.iterdir() if not path.name.startswith(".") and _is_model(path))
        home = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelLoadError(f"model repository {str(root)!r}: {reason}; give a folder that holds models") from None
    return [_entry(folder, home) for folder in folders]


def _is_model(path: Path) -> bool:
    """Is it a folder, or a link to nothing: a model that cannot be opened, and is to be told of?"""
    try:
        return path.is_dir() or (path.is_symlink() and not path.exists())
    except OSError:
        return True


def scan_all(roots: Iterable[Path]) -> list[ModelEntry]:
    """The models of several repositories; a name that is in more than one is an error for each of them."""
    entries = [entry for root in roots for entry in scan(root)]
    folders: dict[str, list[str]] = {}
    for entry in entries:
        folders.setdefault(entry.name, []).append(one_line(str(entry.folder)))
    return [entry if len(folders[entry.name]) == 1 else _duplicate(entry, folders[entry.name]) for entry in entries]


def _duplicate(entry: ModelEntry, folders: Sequence[str]) -> ModelEntry:
    text = f"{' and '.join(folders)}: model name {entry.name!r} is there {len(folders)} times; rename or remove one"
    return replace(entry, versions=(), error=text)


def _entry(folder: Path, home: Path) -> ModelEntry:
    name = one_line(folder.name)
    config = None
    try:
        if name != folder.name:
            raise ModelLoadError(f"{name}: the folder's name has characters that do not print; rename it")
        _check_home(folder, home)
        config = read_config(folder)
        return ModelEntry(name, folder, config, _served(folder, config.version_policy, home))
    except ModelLoadError as error:
        return ModelEntry(name, folder, config, (), one_line(str(error)))


def entry_with(folder: Path, config: str, known: ModelConfig | None = None) -> ModelEntry:
    """The model in `folder`, with `config`, Triton's JSON, in place of config.pbtxt; a bad one has an error.

    `known`: see `parse_json`.
    """
    parsed = None
    try:
        home = folder.parent.resolve()
        _check_home(folder, home)
        parsed = parse_json(config, source="the config that was sent", folder=folder, known=known)
        return ModelEntry(folder.name, folder, parsed, _served(folder, parsed.version_policy, home))
    except ModelLoadError as error:
        return ModelEntry(folder.name, folder, parsed, (), one_line(str(error)))


def _check_home(folder: Path, home: Path) -> None:
    try:
        inside = folder.resolve(strict=True).is_relative_to(home)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelLoadError(f"{folder}: cannot be opened: {reason}; correct the link or its permissions") from None
    if not inside:
        raise ModelLoadError(f"{folder}: a link that leads out of the repository; copy the folder there")


def read_config(folder: Path) -> ModelConfig:
    """The configuration of the model in `folder`; raises `ModelLoadError`."""
    source = one_line(str(folder / CONFIG_FILE))
    try:
        text = read_text(file_inside(folder, CONFIG_FILE))
    except ModelLoadError as error:
        raise ModelLoadError(f"{source}: {error}") from None
    return parse(text, source=source, folder=folder)


def _served(folder: Path, policy: VersionPolicy, home: Path) -> tuple[int, ...]:
    try:
        found = sorted(int(p.name) for p in folder.iterdir() if _VERSION.fullmatch(p.name) and p.is_dir())
    except OSError as error:
        raise ModelLoadError(f"{folder}: cannot be listed: {error.strerror}; check its permissions") from None
    if not found:
        raise ModelLoadError(
            f"{folder}: there is no version folder; put the model file into {folder.name}/1"
            f" (shipped models: batchyard build {folder.name})"
        )
    served = choose_versions(policy, found)
    if not served:
        wanted = list(policy.specific)
        raise ModelLoadError(f"{folder}: version_policy serves {wanted}, found {found}; change it or add a version")
    for version in served:
        _check_home(folder / str(version), home)
    return served


def choose_versions(policy: VersionPolicy, found: Sequence[int]) -> tuple[int, ...]:
    """Those of the versions `found`, ascending, that the policy serves; as Triton, without those that are absent."""
    match policy.kind:
        case "latest":
            return tuple(found[-policy.latest :])
        case "all":
            return tuple(found)
        case "specific":
            return tuple(version for version in found if version in policy.specific)


def model_file(config: ModelConfig, version_folder: Path, default: str) -> Path:
    """The model's file or folder in `version_folder`: its `default_model_filename`, else `default`.

    Raises `ModelLoadError` where it is absent or leads out of that folder.
    """
    try:
        return path_inside(version_folder, config.default_model_filename or default)
    except ModelLoadError as error:
        text = f"model {config.name!r} version {version_folder.name}: {error} in default_model_filename"
        raise ModelLoadError(one_line(text)) from None
