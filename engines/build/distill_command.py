"""The arguments of `batchyard distill`. Needs no torch."""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from engines.build.distill_recipe import Recipe

HELP = """\
Teaches an encoder of fewer layers to answer as TEACHER does, from texts alone, without labels. It is written as a
Hugging Face encoder folder for batchyard build --from. Interrupted, the same command goes on from its last checkpoint.
The student is compared with its teacher on texts that it has not seen; where it loses more than --max-drop points, the
command fails and writes nothing.

examples:
  batchyard distill minilm --layers 3 --data messages.txt
  batchyard distill ./my-encoder --layers 4 --data messages.csv --check labelled.csv --max-drop 1 --name my_small
  batchyard build my_small --from students/my_small
"""


@dataclass(frozen=True, slots=True)
class DistillRequest:
    """What the command is asked for.

    `teacher`: a Hugging Face encoder folder, or "minilm". `data`: texts to learn from. `folder`: the student's.
    `check`: texts to compare on, with labels if it has a column category; None: some of `data` are held out.
    `max_drop`: in points, as in `batchyard build`. `repository`: where the teacher's classifier head is looked for.
    """

    teacher: str
    data: Path
    folder: Path
    recipe: Recipe
    check: Path | None
    max_drop: float | None
    repository: Path


def add_arguments(parser: argparse.ArgumentParser) -> Sequence[str]:
    """Adds the flags, those of `Recipe` among them; returns their names."""
    add = parser.add_argument
    flags = [
        add("--data", type=Path, required=True, metavar="FILE", help="texts: .txt, or .csv with a column text"),
        add("--name", help="of the student [TEACHER_lN]"),
        add("--to", type=Path, default=Path("students"), metavar="DIR", help="where its folder goes [%(default)s]"),
        add(
            "--check", type=Path, metavar="FILE", help="other texts to compare on; with a column category, accuracy too"
        ),
        add("--max-drop", type=float, metavar="X", help="the most points that the student may lose [no bound]"),
        add("--model-repository", type=Path, metavar="DIR", help="where the classifier head is [that of the settings]"),
    ]
    for field in fields(Recipe):
        needed = field.default is MISSING
        kind = int if needed else type(field.default)
        shown = field.metadata["help"] if needed else f"{field.metadata['help']} [{field.default}]"
        metavar = {int: "N", float: "X"}.get(kind, "TEXT")
        default = None if needed else field.default
        flags.append(add(f"--{field.name}", type=kind, required=needed, default=default, metavar=metavar, help=shown))
    add("teacher", metavar="TEACHER", help="a Hugging Face encoder folder, or minilm")
    return [flag.option_strings[0] for flag in flags]


def request_of(arguments: argparse.Namespace, repository: Path) -> DistillRequest:
    """What the parsed `arguments` ask for; raises `BuildError`."""
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    name = arguments.name or f"{Path(arguments.teacher).name}_l{recipe.layers}"
    folder = arguments.to / name
    return DistillRequest(
        arguments.teacher, arguments.data, folder, recipe, arguments.check, arguments.max_drop, repository
    )
