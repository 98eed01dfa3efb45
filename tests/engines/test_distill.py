"""`batchyard distill`: a student of fewer layers, taught from texts, interrupted and taken up again."""

import json
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from engines.build.distill import distill
from engines.build.distill_checkpoint import FILE
from engines.build.distill_command import DistillRequest
from engines.build.distill_data import LEAST_WIDTH, order_of, packed, variations
from engines.build.distill_lesson import Lesson, Taught
from engines.build.distill_recipe import Recipe
from engines.build.distill_training import chosen_layers, embeddings, make_student, taught
from engines.build.embedding import embed
from engines.build.encoder_folder import encoder_folder
from engines.build.errors import BuildError
from engines.build.student_folder import write_student
from engines.encoder_source import read_encoder
from engines.tensor import Array
from engines.text import Tokenizer
from engines.torch_encoder import load_encoder
from service.cli import main
from tests.engines.tiny_encoder import WINDOW, WORDS, build, write_encoder

RECIPE = Recipe(layers=1, epochs=15, copies=1, batch=16, rate=3e-3, hidden=0.5, precision="fp32")
STEPS = 75


class StopError(Exception):
    """Stands for a machine that goes away."""


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """With one thread, small products wait for no other."""
    cores = os.sched_getaffinity(0)
    threads = torch.get_num_threads()
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "teacher")


def texts() -> list[str]:
    source = random.Random(3)
    words = [word for word in WORDS if not word.startswith("##")]
    return [" ".join(source.choices(words, k=source.randint(2, 9))) for _ in range(40)]


def data(folder: Path) -> Path:
    path = folder / "texts.txt"
    path.write_text("\n".join(dict.fromkeys(texts())), encoding="utf-8")
    return path


def lesson(teacher: Path, work: Path, origin: str = "a", recipe: Recipe = RECIPE) -> Lesson:
    tokenizer = Tokenizer.from_file(teacher / "tokenizer.json", WINDOW, truncate=True)
    return Lesson(read_encoder(teacher), tokenizer, texts(), recipe, origin, work)


def quiet(step: str, done: int, total: int) -> None:
    """Shows nothing."""


def teach(teacher: Path, work: Path, stop: int = -1) -> Taught:
    """Teaches, or until step `stop`."""

    def show(what: str, done: int, total: int) -> None:
        if done == stop:
            raise StopError

    return lesson(teacher, work).teach(show)


def differences(first: Mapping[str, Array], second: Mapping[str, Array]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name in first if not np.array_equal(first[name], second[name])]


def request(teacher: Path, folder: Path, **changed: object) -> DistillRequest:
    given: dict[str, object] = {
        "teacher": str(teacher),
        "data": data(folder),
        "folder": folder / "students" / "small",
        "recipe": RECIPE,
        "check": None,
        "max_drop": None,
        "repository": folder / "models",
    }
    return DistillRequest(**{**given, **changed})  # type: ignore[arg-type]


def run(wanted: DistillRequest) -> str:
    shown = StringIO()
    distill(wanted, Console(file=shown, width=200))
    return shown.getvalue()


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "chosen"),
    [(6, 3, (1, 3, 5)), (12, 4, (2, 5, 8, 11)), (6, 4, (0, 2, 3, 5)), (2, 1, (1,))],
)
def test_the_layers_chosen_are_spread_and_end_with_the_last(
    of_teacher: int, of_student: int, chosen: tuple[int, ...]
) -> None:
    assert chosen_layers(of_teacher, of_student) == chosen


def test_packed_texts_lie_whole_where_they_are_said_to() -> None:
    source = np.random.default_rng(0)
    tokens = [source.integers(5, 1000, size) for size in source.integers(3, 40, 50)]
    chosen = order_of(50, 0, 0)[:30]
    lot = packed(tokens, chosen, LEAST_WIDTH)
    ids, positions, segments = lot.arrays
    assert sorted(lot.texts) == sorted(chosen)
    for text, row, segment in zip(lot.texts, lot.rows, lot.segments, strict=True):
        where = segments[row] == segment
        assert ids[row][where].tolist() == tokens[text].tolist()
        assert positions[row][where].tolist() == list(range(len(tokens[text])))
    assert (segments >= 0).mean() > 0.85


def test_variations_are_the_same_for_the_same_seed_and_never_empty() -> None:
    made = variations(texts(), 3, 0)
    assert len(made) == 3 * len(texts())
    assert all(made)
    assert made == variations(texts(), 3, 0) != variations(texts(), 3, 1)


def test_orders_differ_by_epoch_and_seed() -> None:
    orders = {tuple(order_of(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


def bert(folder: Path) -> None:
    """Of an older layout, with everything that a folder may declare."""
    write_encoder(folder / "0_Transformer")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    modules = [{"type": "s.models.Transformer", "path": "0_Transformer"}, {"type": "s.Pooling", "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))


def roberta(folder: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model = RobertaModel(RobertaConfig(**sizes, vocab_size=30, max_position_embeddings=WINDOW, pad_token_id=1))
    model.save_pretrained(folder)
    shutil.copy(write_encoder(folder / "other") / "tokenizer.json", folder)


def distilbert(folder: Path) -> None:
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": WINDOW}
    DistilBertModel(DistilBertConfig(vocab_size=30, **sizes)).save_pretrained(folder)
    shutil.copy(write_encoder(folder / "other") / "tokenizer.json", folder)


@pytest.mark.parametrize("write", [bert, roberta, distilbert])
def test_a_student_of_all_layers_that_was_taught_nothing_is_its_teacher(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / "teacher")
    teacher = encoder_folder(tmp_path / "teacher")
    source = teacher.read()
    student = make_student(load_encoder(source, "fp32", "cpu"), range(source.layers))
    weights = {name: weight.numpy() for name, weight in taught(student).items()}
    (tmp_path / "student").mkdir()
    write_student(teacher, source, weights, source.layers, tmp_path / "student")
    again = encoder_folder(tmp_path / "student")
    tokens = Tokenizer.from_file(again.tokenizer, 40).encode(texts())
    first, second = (embeddings(load_encoder(one, "fp32", "cpu"), tokens) for one in (source, again.read()))
    assert first.equal(second)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("hidden", [0.0, 0.5])
def test_teaching_brings_the_student_nearer_to_its_teacher(
    teacher: Path, tmp_path: Path, precision: str, hidden: float
) -> None:
    untaught = lesson(teacher, tmp_path / "work").answers(texts())
    pupil = lesson(teacher, tmp_path / "work", recipe=Recipe(1, 15, 1, 16, 3e-3, 0.01, hidden, precision))
    pupil.teach(quiet)
    before, after = ((wanted * found).sum(axis=1).mean() for wanted, found in (untaught, pupil.answers(texts())))
    assert after > 1 - (1 - before) / 3


def test_a_lesson_taken_up_again_ends_with_the_same_weights(teacher: Path, tmp_path: Path) -> None:
    whole = teach(teacher, tmp_path / "whole")
    assert whole.steps == STEPS
    with pytest.raises(StopError):
        teach(teacher, tmp_path / "cut", stop=62)
    assert lesson(teacher, tmp_path / "cut").resumed == 50
    assert differences(whole.weights, teach(teacher, tmp_path / "cut").weights) == []


def test_the_last_checkpoint_spares_all_steps(teacher: Path, tmp_path: Path) -> None:
    whole = teach(teacher, tmp_path / "work")
    assert differences(whole.weights, teach(teacher, tmp_path / "work", stop=0).weights) == []


def test_a_checkpoint_that_is_damaged_or_of_another_lesson_does_not_count(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(StopError):
        teach(teacher, tmp_path / "work", stop=62)
    assert lesson(teacher, tmp_path / "work", origin="b").resumed == 0
    path = tmp_path / "work" / FILE
    path.write_bytes(path.read_bytes()[:-9])
    assert lesson(teacher, tmp_path / "work").resumed == 0


def test_the_command_leaves_an_encoder_folder_and_nothing_else(teacher: Path, tmp_path: Path) -> None:
    wanted = request(teacher, tmp_path)
    shown = run(wanted)
    assert "60 steps" in shown
    assert "batchyard build small --from" in shown
    assert [path.name for path in (tmp_path / "students").iterdir()] == ["small"]
    source = read_encoder(encoder_folder(wanted.folder).root)
    assert source.layers == 1
    manifest = json.loads((wanted.folder / "manifest.json").read_bytes())
    assert manifest["gate"]["cosine_mean"] > 0.9
    assert "up to date" in run(wanted)


def test_the_student_is_built_as_any_encoder(teacher: Path, tmp_path: Path) -> None:
    wanted = request(teacher, tmp_path)
    run(wanted)
    build(wanted.folder, wanted.repository, "onnxruntime", names=("small",))
    found = embed(texts(), wanted.repository / "small_onnx", quiet)
    student = load_encoder(read_encoder(wanted.folder), "fp32", "cpu")
    tokens = Tokenizer.from_file(wanted.folder / "tokenizer.json", WINDOW).encode(texts())
    assert found == pytest.approx(embeddings(student, tokens).numpy(), abs=1e-5)


def test_a_full_disk_gets_one_line(teacher: Path, tmp_path: Path) -> None:
    wanted = request(teacher, tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(BuildError, match="check the disk's space") as raised:
            run(wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(raised.value)
    assert not wanted.folder.exists()
    assert "60 steps" in run(wanted)


def test_a_student_that_loses_too_much_is_refused_and_the_old_one_stays(teacher: Path, tmp_path: Path) -> None:
    run(request(teacher, tmp_path))
    weights = (tmp_path / "students/small/model.safetensors").read_bytes()
    short = Recipe(1, 1, 0, 16, 1e-5)
    with pytest.raises(BuildError, match=r"the student loses \d+\.\d\d points of mean cosine against its teacher"):
        run(request(teacher, tmp_path, recipe=short, max_drop=0.1))
    assert (tmp_path / "students/small/model.safetensors").read_bytes() == weights


def test_a_folder_that_no_distillation_made_is_left_alone(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "students" / "small").mkdir(parents=True)
    with pytest.raises(BuildError, match="holds files that no distillation made"):
        run(request(teacher, tmp_path))


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (["--layers", "3"], "--layers 3: the teacher has 2; use 1 to 2"),
        (["--layers", "1", "--epochs", "0"], "--epochs 0: use 1 or more"),
        (["--layers", "1", "--precision", "int8"], "--precision 'int8': use bf16 or fp32"),
        (["--layers", "1", "--name", "a b"], "--name 'a b': use letters, digits"),
    ],
)
def test_wrong_flags_get_one_line(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], wanted: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["distill", str(teacher), "--data", str(data(tmp_path)), "--to", str(tmp_path / "students"), *flags])
    assert raised.value.code == 1
    error = capsys.readouterr().err
    assert wanted in error
    assert error.count("\n") == 1
