"""What is noted beside a TensorRT plan, `model.plan.json`: what the plan itself does not tell."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engines.errors import ModelLoadError


@dataclass(frozen=True, slots=True)
class PlanNotes:
    """`sdk`: import name of what built the plan, "" where that is not known, and its `version`.

    `host_code`: the plan brings a TensorRT runtime of its own, which runs in this process. `table_sizes`: input name ->
    rows of the table that its values look up; a GPU would read beyond it.
    """

    sdk: str = ""
    version: str = ""
    host_code: bool = False
    table_sizes: Mapping[str, int] = field(default_factory=dict)


def notes_file(plan: Path) -> Path:
    return plan.with_name(f"{plan.name}.json")


def write_notes(plan: Path, notes: PlanNotes) -> None:
    notes_file(plan).write_text(json.dumps(asdict(notes), indent=2) + "\n", encoding="utf-8")


def read_notes(plan: Path) -> PlanNotes:
    """The notes beside `plan`, empty ones where there are none; raises `ModelLoadError` for a file that is not ours."""
    path = notes_file(plan)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        notes = PlanNotes(**found)
    except FileNotFoundError:
        return PlanNotes()
    except (OSError, ValueError, TypeError) as error:
        raise ModelLoadError(f"{path.name!r} cannot be read: {error}; build the model again, or remove it") from None
    sizes = notes.table_sizes
    texts = isinstance(notes.sdk, str) and isinstance(notes.version, str) and isinstance(notes.host_code, bool)
    if not texts or not isinstance(sizes, dict) or not all(type(size) is int for size in sizes.values()):
        raise ModelLoadError(f"{path.name!r} is not what a build writes; build the model again, or remove it")
    return notes
