"""`batchyard distill`: an encoder of fewer layers that answers nearly as its teacher does, as a Hugging Face folder."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from engines.build.calibration import read_corpus
from engines.build.corpora import Corpus, read_check
from engines.build.distill_command import DistillRequest
from engines.build.distill_lesson import Lesson, Taught
from engines.build.encoder_folder import EncoderFolder, encoder_folder, shipped_folder, window_of
from engines.build.errors import BuildError
from engines.build.gate import Quality, quality
from engines.build.heads import find_head
from engines.build.manifest import (
    Origin,
    describe,
    digest_of,
    digests,
    is_current,
    recipe,
    version_of,
    write_manifest,
)
from engines.build.placing import locked, place_folder, staging
from engines.build.progress import progress_bar, say
from engines.build.request import NAME, SHIPPED_FAMILY
from engines.build.student_folder import write_student
from engines.encoder_source import EncoderSource
from engines.model_manifest import MANIFEST
from engines.text import Tokenizer

_CODE = ("../torch_encoder.py", "distill_data.py", "distill_lesson.py", "distill_training.py", "student_folder.py")
_HELD_OUT, _HELD_OUT_SEED = 200, 12
_LONGEST = 256


def distill(request: DistillRequest, console: Console) -> None:
    """Teaches the student unless it is there and current; goes on from the last checkpoint of the same request.

    The student is compared with its teacher before it takes its place. Raises `EngineError`, one line, where it cannot
    be made or loses more than `max_drop`; what was there stays.
    """
    folder = request.folder
    if not NAME.fullmatch(folder.name):
        raise BuildError(f"--name {folder.name!r}: use letters, digits, '_', '-' and '.', a letter or digit first")
    teacher = _teacher(request.teacher)
    source = teacher.read()
    if request.recipe.layers > source.layers:
        raise BuildError(f"--layers {request.recipe.layers}: the teacher has {source.layers}; use 1 to {source.layers}")
    texts, held_out = _texts(request)
    made_from = _origin(request, teacher, texts)
    if is_current(folder, made_from):
        say(console, folder.name, "up to date", "dim")
        return
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise BuildError(f"{folder}: holds files that no distillation made; give another --name")
    work = folder.with_name(f".{folder.name}")
    try:
        with locked(folder.parent, lambda: say(console, folder.name, "waiting for another distillation to end")):
            lesson = _lesson(request, teacher, source, texts, made_from, work)
            _make(lesson, request, teacher, held_out, made_from, console)
    except OSError as error:
        raise BuildError(f"{error.filename or folder}: {error.strerror or error}; check the disk's space") from error


def _teacher(name: str) -> EncoderFolder:
    if name == SHIPPED_FAMILY:
        return shipped_folder()
    return encoder_folder(Path(name))


def _texts(request: DistillRequest) -> tuple[list[str], Corpus]:
    """The texts to learn from, and others to compare on."""
    texts = list(dict.fromkeys(read_corpus(request.data)))
    if request.check:
        held_out = read_check(request.check)
    else:
        shuffled = random.Random(_HELD_OUT_SEED).sample(texts, len(texts))  # noqa: S311
        held_out = Corpus(request.data.name, shuffled[: min(_HELD_OUT, len(texts) // 4)])
    known = set(held_out.texts)
    texts = [text for text in texts if text not in known]
    if not texts or not held_out.texts:
        raise BuildError(f"{request.data}: has too few texts beside those to compare on; give a few thousand")
    return texts, held_out


def _origin(request: DistillRequest, teacher: EncoderFolder, texts: Sequence[str]) -> Origin:
    settings = {name: str(value) for name, value in asdict(request.recipe).items()}
    settings |= {"data": request.data.name, "data_sha256": digest_of(*texts)}
    return Origin(digests(teacher.root, teacher.files), settings, {"torch": version_of("torch")}, recipe(_CODE))


def _lesson(
    request: DistillRequest,
    teacher: EncoderFolder,
    source: EncoderSource,
    texts: Sequence[str],
    made_from: Origin,
    work: Path,
) -> Lesson:
    window = min(_LONGEST, window_of(teacher, len(source.positions)))
    tokenizer = Tokenizer.from_file(teacher.tokenizer, window, truncate=True)
    return Lesson(source, tokenizer, texts, request.recipe, digest_of(json.dumps(asdict(made_from))), work)


def _make(
    lesson: Lesson,
    request: DistillRequest,
    teacher: EncoderFolder,
    held_out: Corpus,
    made_from: Origin,
    console: Console,
) -> None:
    folder = request.folder
    with progress_bar(console, folder.name) as show:
        if lesson.resumed:
            say(console, folder.name, f"goes on from step {lesson.resumed}", "dim")
        taught = lesson.teach(show)
    original, found = lesson.answers(held_out.texts)
    head = find_head(request.repository, Path(request.teacher).name, original.shape[1])
    figures = quality(original, found, held_out.labels, head)
    _say_quality(figures, taught, folder, console)
    drop, of_what = figures.drop()
    if request.max_drop is not None and not drop <= request.max_drop:
        raise BuildError(
            f"the student loses {drop:.2f} points of {of_what} against its teacher, --max-drop allows"
            f" {request.max_drop:g}; give it more --epochs, --copies or --layers"
        )
    with staging(lesson.work) as scratch:
        made = scratch / folder.name
        made.mkdir()
        write_student(teacher, lesson.source, taught.weights, request.recipe.layers, made)
        about = {"texts": {"source": held_out.source, "count": len(held_out.texts), "sha256": held_out.sha256}}
        gate = {**about, **asdict(figures)}
        write_manifest(made, {**describe(made, made_from), "seconds": round(taught.seconds, 1), "gate": gate})
        place_folder(made, folder)
        lesson.forget()
    console.print(f"To run it: batchyard build {folder.name} --from {folder}", markup=False, highlight=False)


def _say_quality(figures: Quality, taught: Taught, folder: Path, console: Console) -> None:
    parts = [f"{taught.steps} steps in {taught.seconds:.0f} s", f"cosine to the teacher {figures.cosine_mean:.4f}"]
    if figures.label_agreement is not None:
        parts.append(f"equal labels {figures.label_agreement:.4f}")
    if figures.accuracy is not None:
        parts.append(f"accuracy {figures.accuracy:.4f} (teacher {figures.original_accuracy:.4f})")
    say(console, folder.name, ", ".join(parts), "green")
