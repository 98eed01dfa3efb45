"""The torch generator: how prompts and answers share steps, places and memory, and what it does when it fails."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines import open_generator
from engines.base import EngineOptions
from engines.errors import EngineError, EngineMemoryError, ExecutionError, InvalidInputError
from engines.text_generator import GenerationRequest, Grammar, Sampling, TextGenerator
from engines.torch_generate import PIECE
from tests.engines.generators.driving import Drive, answers, config_text, ids, options, request
from tests.engines.generators.tiny_llama import END, SMOLLM2, VOCABULARY, WINDOW, rewrite, write_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

PROMPT = range(10, 30)


def opened(folder: Path, **parameters: object) -> TextGenerator:
    return open_generator(options(folder, config_text("torch_generate", **parameters)))


def prompt(size: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, VOCABULARY, size).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "m"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a window of several pieces."""
    folder = tmp_path_factory.mktemp("models") / "m"
    write_model(folder, max_position_embeddings=4 * PIECE)
    return folder


@pytest.fixture(scope="module")
def generator(folder: Path) -> Iterator[TextGenerator]:
    generator = opened(folder)
    yield generator
    generator.close()


@pytest.mark.parametrize("changes", [{}, SMOLLM2], ids=["llama", "smollm2"])
def test_answers_as_transformers_does(tmp_path: Path, changes: dict[str, object]) -> None:
    from transformers import AutoModelForCausalLM

    version = write_model(tmp_path / "m", **changes)
    model = AutoModelForCausalLM.from_pretrained(version, eos_token_id=None)
    with torch.inference_mode():
        wanted = model.generate(torch.tensor([list(PROMPT)]), do_sample=False, min_new_tokens=12, max_new_tokens=12)
    assert ids(opened(tmp_path / "m"), request(PROMPT, 12, ignore_eos=True, logit_bias={END: -100.0})) == (
        wanted[0, len(PROMPT) :].tolist()
    )


@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "gemma2", "mixtral"])
def test_other_architectures_answer_alike_in_a_batch(tmp_path: Path, kind: str) -> None:
    write_model(tmp_path / "m", kind, head_dim=8, num_local_experts=4, max_position_embeddings=512)
    generator = opened(tmp_path / "m")
    wanted = [request(prompt(size), 8, ignore_eos=True) for size in (3, PIECE + 50, 9)]
    alone = [ids(generator, one) for one in wanted]
    assert [answer.ids for answer in answers(generator, *wanted)] == alone


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precisions_answer(folder: Path, precision: str) -> None:
    generator = opened(folder, precision=precision)
    assert len(ids(generator, request(PROMPT, 8, ignore_eos=True))) == 8


def test_a_long_prompt_goes_in_by_pieces_while_others_go_on(roomy: Path) -> None:
    generator = opened(roomy)
    long = request(prompt(3 * PIECE + 5), 4, ignore_eos=True)
    alone = ids(generator, long)
    drive = Drive(generator)
    running = drive.add(request(PROMPT, 20, ignore_eos=True))
    drive.run(lambda: len(drive.tokens[running]) == 1)
    added = drive.add(long)
    steps = 0
    while not drive.tokens[added]:
        drive.step()
        steps += 1
    assert steps == 4
    assert len(drive.tokens[running]) == 1 + steps
    drive.run()
    assert drive.answer(added).ids == alone


def test_short_prompts_share_a_step(roomy: Path) -> None:
    """The fourth goes in by two pieces."""
    drive = Drive(opened(roomy))
    for seed in range(4):
        drive.add(request(prompt(PIECE // 4 + 2, seed), 4, ignore_eos=True))
    assert len(drive.step()) == 3
    assert len(drive.step()) == 4


def test_one_that_is_half_in_may_leave_and_so_may_its_neighbours(roomy: Path) -> None:
    """Leaving rows move the one that is being filled."""
    generator = opened(roomy)
    long = request(prompt(3 * PIECE), 5, ignore_eos=True)
    alone = ids(generator, long)
    drive = Drive(generator)
    running = [drive.add(request(prompt(9, seed), 30, ignore_eos=True)) for seed in range(3)]
    drive.step()
    first = drive.add(long)
    drive.step()
    drive.cancel(first)
    second = drive.add(long)
    drive.step()
    for one in (running[0], running[2]):
        drive.cancel(one)
    drive.step()
    drive.cancel(running[1])
    drive.run()
    assert drive.answer(second).ids == alone


def test_no_more_answers_run_than_there_are_places(folder: Path) -> None:
    drive = Drive(opened(folder, generation__max_sequences=2))
    added = [drive.add(request(PROMPT, 2, ignore_eos=True)) for _ in range(3)]
    assert {event.request_id for event in drive.step()} == set(added[:2])
    drive.run()
    assert len({tuple(drive.answer(one).ids) for one in added}) == 1


def test_a_row_waits_while_all_would_not_fit_beside_the_longest(folder: Path) -> None:
    """Rows take as much room as the longest, so a long one and many short ones do not run together."""
    drive = Drive(opened(folder, generation__kv_cache_tokens=200, generation__max_sequences=8))
    long = drive.add(request(range(10, 80), 20, ignore_eos=True))
    short = [drive.add(request((10, 11), 3, ignore_eos=True)) for _ in range(4)]
    assert {event.request_id for event in drive.step()} == {long, short[0]}
    drive.run()
    again = [drive.add(request((10, 11), 3, ignore_eos=True)) for _ in range(4)]
    assert {event.request_id for event in drive.step()} == {*again}
    drive.run()


def test_a_window_is_no_larger_than_the_cache(folder: Path) -> None:
    assert opened(folder, generation__kv_cache_tokens=40).limits.window == 40
    assert opened(folder, generation__window=50).limits.window == 50


def test_an_end_token_ends_the_answer_and_is_not_part_of_it(folder: Path, generator: TextGenerator) -> None:
    free = ids(generator, request(PROMPT, 8, ignore_eos=True))
    end = free[4]
    place = free.index(end)
    (ended,) = answers(generator, request(PROMPT, 8, logit_bias={END: 1000.0}))
    assert (ended.ids, ended.finish) == ([], "stop")
    assert ids(generator, request(PROMPT, 3, logit_bias={END: 1000.0}, ignore_eos=True)) == [END] * 3
    version = folder / "1"
    for name, ends in (("generation_config.json", [END, end]), ("config.json", end)):
        kept = {path: path.read_text() for path in version.glob("*config.json")}
        if name == "config.json":
            (version / "generation_config.json").unlink()
        rewrite(version, name, eos_token_id=ends)
        (answer,) = answers(opened(folder), request(PROMPT, 8))
        for path, text in kept.items():
            path.write_text(text)
        assert (answer.ids, answer.finish) == (free[:place], "stop")


def test_an_end_at_the_last_token_is_a_stop(generator: TextGenerator) -> None:
    (answer,) = answers(generator, request(PROMPT, 1, logit_bias={END: 1000.0}))
    assert (answer.ids, answer.finish) == ([], "stop")


def test_a_row_that_is_no_number_harms_no_other(tmp_path: Path) -> None:
    """Nor may what it leaves in the cache reach the next row in its place."""
    from transformers import AutoModelForCausalLM

    version = write_model(tmp_path / "m")
    model = AutoModelForCausalLM.from_pretrained(version)
    with torch.no_grad():
        model.get_input_embeddings().weight[5] = float("nan")
    model.save_pretrained(version)
    generator = opened(tmp_path / "m")
    poison = request([5] * 40, 3, temperature=1.0, ignore_eos=True)
    short, long = request(PROMPT, 8, ignore_eos=True), request(prompt(60), 8, ignore_eos=True)
    alone = [ids(generator, short), ids(generator, long)]
    ended, *others = answers(generator, poison, long, short)
    assert len(ended.ids) == 3
    assert [answer.ids for answer in others] == alone[::-1]
    answers(generator, poison)
    assert [answer.ids for answer in answers(generator, short, long)] == alone


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (request((VOCABULARY,)), f"token id {VOCABULARY}; the model has 0 to {VOCABULARY - 1}"),
        (request((3, -1)), "token id -1"),
        (request(PROMPT, WINDOW), f"together they may have {WINDOW}"),
        (request(PROMPT, 0), "at least one"),
        (request(PROMPT, logit_bias={VOCABULARY: 1.0}), "logit_bias names token id"),
        (request(PROMPT, logit_bias={3: float("nan")}), "finite"),
        (request(PROMPT, temperature=-1.0), "temperature is -1.0"),
        (request(PROMPT, temperature=float("inf")), "temperature is inf"),
        (request(PROMPT, top_p=1.5), "top_p is 1.5, wanted 0 to 1"),
        (request(PROMPT, min_p=float("nan")), "min_p is nan"),
        (request(PROMPT, presence_penalty=2.5), "presence_penalty is 2.5, wanted -2 to 2"),
        (request(PROMPT, frequency_penalty=-3.0), "frequency_penalty"),
        (request(PROMPT, repetition_penalty=0.0), "repetition_penalty"),
        (request(PROMPT, top_k=-1), "top_k is -1"),
        (GenerationRequest(np.array([3]), Sampling(2), Grammar("{}")), "no JSON schema"),
    ],
)
def test_what_would_fail_later_is_refused(generator: TextGenerator, wanted: GenerationRequest, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        generator.check(wanted)


def test_a_failure_is_an_engine_error_and_leaves_it_broken(folder: Path) -> None:
    generator = opened(folder)
    with pytest.raises(InvalidInputError):
        generator.check(request((VOCABULARY + 7,)))
    generator.add(request((VOCABULARY + 7,)))
    with pytest.raises(ExecutionError, match="torch failed on cpu: index out of range"):
        generator.step()
    with pytest.raises(ExecutionError, match="failed before; close it"):
        generator.step()
    with pytest.raises(ExecutionError, match="failed before"):
        generator.add(request(PROMPT))
    generator.cancel(0)
    generator.close()
    with pytest.raises(EngineError, match="closed"):
        generator.step()


def test_too_little_memory_is_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlamaForCausalLM

    generator = opened(folder)
    monkeypatch.setattr(LlamaForCausalLM, "forward", lambda *_, **__: torch.empty(2**60, dtype=torch.uint8))
    generator.add(request(PROMPT))
    with pytest.raises(EngineMemoryError, match="ran out of memory on cpu"):
        generator.step()


def test_threads_hold_where_the_generator_steps(folder: Path) -> None:
    opened_options = options(folder, config_text("torch_generate"))
    generator = open_generator(EngineOptions(opened_options.config, opened_options.folder, threads=3))
    counts: list[int] = []

    def on_another_thread(generator: TextGenerator) -> None:
        ids(generator, request(PROMPT, 1))
        counts.append(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        thread = threading.Thread(target=on_another_thread, args=(generator,))
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert counts == [3]
