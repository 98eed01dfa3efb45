"""A generator in a process of its own: the echo engine, which then has a vocabulary, behind a real process."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.apart import ApartGenerator, Known
from engines.errors import EngineLostError, ExecutionError, InvalidInputError, ModelLoadError
from engines.text_generator import GenerationRequest
from tests.engines.generators.driving import answers, config_text, options, request

MODULE = "tests.engines.counting_echo"


def _check(request: GenerationRequest, known: Known) -> None:
    if request.prompt.max() >= known.vocabulary:
        raise InvalidInputError("not in the vocabulary")


def _open(folder: Path, **parameters: object) -> ApartGenerator:
    (folder / "1").mkdir(parents=True, exist_ok=True)
    return ApartGenerator(options(folder, config_text("echo", **parameters)), MODULE, _check)


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[ApartGenerator]:
    generator = _open(tmp_path / "m", echo__break_on=5)
    yield generator
    generator.close()


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_answers_from_another_process(generator: ApartGenerator) -> None:
    generator.warm_up()
    assert generator.process_id != os.getpid()
    found = answers(generator, request((1, 2, 3)), request((7, 8), 5, ignore_eos=True))
    assert [answer.ids for answer in found] == [[1, 2, 3], [7, 8, 7, 8, 7]]


def test_checks_are_done_here(generator: ApartGenerator) -> None:
    with pytest.raises(InvalidInputError, match="vocabulary"):
        generator.check(request((300,)))


def test_its_errors_are_raised_here(generator: ApartGenerator) -> None:
    generator.add(request((5,)))
    with pytest.raises(ExecutionError, match="told to break"):
        generator.step()


def test_what_cannot_be_opened_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"step_ms is 'soon'"):
        _open(tmp_path / "m", echo__step_ms="soon")


def test_a_process_that_is_killed_is_an_error_not_a_wait(generator: ApartGenerator) -> None:
    generator.add(request((1, 2, 3)))
    os.kill(generator.process_id, signal.SIGKILL)
    with pytest.raises(EngineLostError, match="by signal 9"):
        generator.step()


def test_a_step_that_hangs_is_ended(tmp_path: Path) -> None:
    generator = _open(tmp_path / "m", echo__step_ms=600_000, watchdog_ms=300)
    generator.add(request((1, 2, 3)))
    with pytest.raises(EngineLostError, match=r"no progress for 0\.3 s"):
        generator.step()
    assert not _is_alive(generator.process_id)


def test_closing_ends_the_process(tmp_path: Path) -> None:
    generator = _open(tmp_path / "m")
    generator.close()
    generator.close()
    assert not _is_alive(generator.process_id)


def test_the_process_ends_with_this_one_and_not_by_its_signals(generator: ApartGenerator) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(generator.process_id, number)
    assert [answer.ids for answer in answers(generator, request((1, 2)))] == [[1, 2]]
    generator._process._line.close()  # as the kernel does when a process is killed
    end = time.monotonic() + 20
    while generator._process._process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
