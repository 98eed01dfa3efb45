"""Fits a classifier head on a model's embeddings."""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import save

from engines import open_engine
from engines.base import EngineOptions
from engines.batch import Batch
from engines.build.embedding import embed
from engines.build.errors import BuildError
from engines.build.head_training import Recipe, Weights, train_head
from engines.build.placing import place_file, staging
from engines.build.progress import progress_bar, say
from engines.errors import EngineError
from engines.repository import read_config

HEAD = "head.safetensors"
LABELS = "labels.txt"
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts and the label of each."""

    texts: Sequence[str]
    labels: Sequence[str]


def fit_head(encoder: Path, examples: Path, head: Path, console: Console, recipe: Recipe | None = None) -> None:
    """Fits a head on the embeddings of `encoder`, a packed text model's folder, and writes it to the folder `head`.

    `examples`: CSV with columns text and category. Written are `labels.txt` (the categories, sorted) and
    `1/head.safetensors` (`weight0`, `bias0`, `weight1`, `bias1`, FP32 [out, in] and [out]); the same for the same
    embeddings and recipe. Raises `EngineError`.
    """
    known = read_examples(examples)
    labels, classes = np.unique(np.array(known.labels), return_inverse=True)
    if len(labels) < 2:
        raise BuildError(f"{examples}: has {len(labels)} category; give examples of two or more")
    with progress_bar(console, head.name) as show:
        embeddings = embed(known.texts, encoder, show)
        weights = train_head(embeddings, classes, recipe or Recipe(), lambda done, total: show("fit", done, total))
    write_head(weights, labels.tolist(), head)


def accuracy(encoder: Path, examples: Path, head: Path, console: Console) -> float:
    """The share of `examples` that the model `head`, with its config.pbtxt, labels right. Raises `EngineError`."""
    known = read_examples(examples)
    config = read_config(head)
    engine = open_engine(EngineOptions(config, head / VERSION))
    with progress_bar(console, examples.name) as show:
        embeddings = embed(known.texts, encoder, show)
    right = 0
    for start in range(0, len(embeddings), config.max_batch_size):
        rows = embeddings[start : start + config.max_batch_size]
        found = engine.run(Batch({config.inputs[0].name: rows}, len(rows)))["label"].ravel()
        wanted = known.labels[start : start + config.max_batch_size]
        right += sum(label.decode() == want for label, want in zip(found, wanted, strict=True))
    engine.close()
    return right / len(embeddings)


def read_examples(path: Path) -> Examples:
    """The rows of a CSV file with columns text and category; raises `BuildError`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BuildError(f"{path}: cannot be read: {error.strerror}; give a CSV file of examples") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BuildError(f"{path}: is no CSV file in UTF-8: {error}; save it as one") from None
    for number, row in enumerate(rows, start=1):
        if not row.get("text") or not row.get("category"):
            raise BuildError(f"{path}: example {number} has no text or no category; give columns text,category")
    if not rows:
        raise BuildError(f"{path}: has no examples; give columns text,category and rows below them")
    return Examples([row["text"] for row in rows], [row["category"] for row in rows])


def write_head(weights: Weights, labels: Sequence[str], head: Path) -> None:
    """Writes the two files into the folder `head`; raises `BuildError`."""
    names = ("weight0", "bias0", "weight1", "bias1")
    try:
        with staging(head) as folder:
            (folder / HEAD).write_bytes(save(dict(zip(names, map(np.ascontiguousarray, weights), strict=True))))
            (folder / LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
            (head / VERSION).mkdir(exist_ok=True)
            place_file(folder / HEAD, head / VERSION / HEAD)
            place_file(folder / LABELS, head / LABELS)
    except OSError as error:
        raise BuildError(f"{head}: cannot be written: {error.strerror}; check the disk's space") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit codes: 0 done, 1 failed, 2 wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m engines.build.fit_head", description=__doc__)
    repository = Path("model_repository")
    parser.add_argument("train", type=Path, metavar="TRAIN.csv", help="examples, columns text,category")
    parser.add_argument("--encoder", type=Path, default=repository / "minilm_onnx", help="model (default: %(default)s)")
    parser.add_argument("--head", type=Path, default=repository / "intent_head", help="to write (default: %(default)s)")
    parser.add_argument("--check", type=Path, metavar="DEV.csv", help="other examples, to report the accuracy on")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        fit_head(chosen.encoder, chosen.train, chosen.head, console)
        say(console, chosen.head.name, f"fitted on {chosen.train}")
        if chosen.check:
            share = accuracy(chosen.encoder, chosen.check, chosen.head, console)
            say(console, chosen.head.name, f"accuracy {share:.4f} on {chosen.check}")
    except EngineError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
