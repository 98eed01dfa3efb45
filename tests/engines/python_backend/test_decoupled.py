"""Models that answer when and as often as they like."""

import logging
from collections.abc import Callable

import numpy as np
import pytest

from engines.calls import Call, CallEngine, Response
from engines.errors import EngineError, ExecutionError, ModelAnsweredError
from tests.engines.python_backend.calling import Answers, call, strings
from tests.engines.python_backend.conftest import Opener


@pytest.fixture(scope="module")
def engine(models: Opener) -> CallEngine:
    return models.start("stream")


def asking(count: int, how: str = "", cancelled: Callable[[], bool] = lambda: False) -> tuple[Call, Answers]:
    answers = Answers()
    return call({"N": np.array([count], np.int32), "HOW": strings(how)}, answers, cancelled), answers


def values(responses: list[Response]) -> list[int]:
    return [int(each.outputs["Y"][0]) for each in responses if each.outputs]


@pytest.mark.parametrize("how", ["", "final with the last", "drop", "twice"])
def test_a_request_has_its_answers_in_order_and_one_end(engine: CallEngine, how: str) -> None:
    asked = [asking(count, how) for count in (1, 5, 3)]
    assert engine.execute([each for each, _ in asked]) == [None] * 3
    for (_, answers), count in zip(asked, (1, 5, 3), strict=True):
        found = answers.all()
        assert values(found) == list(range(count))
        assert [each.final for each in found][:-1] == [False] * (len(found) - 1)
        assert found[-1].error is None
        assert bool(found[-1].outputs) == (how == "final with the last")


def test_a_request_may_have_no_answer_but_the_end(engine: CallEngine) -> None:
    one, answers = asking(0)
    engine.execute([one])
    (end,) = answers.all()
    assert (end.final, end.error, dict(end.outputs)) == (True, None, {})


def test_executions_go_on_while_others_are_open(engine: CallEngine) -> None:
    is_over = False
    held, held_answers = asking(1, "until cancelled", lambda: is_over)
    engine.execute([held])
    for _ in range(3):
        one, answers = asking(2)
        engine.execute([one])
        assert values(answers.all()) == [0, 1]
    is_over = True
    (end,) = held_answers.all()
    assert isinstance(end.error, ModelAnsweredError)
    assert end.error.code == "CANCELLED"


def test_an_error_is_the_end_of_a_request(engine: CallEngine) -> None:
    one, answers = asking(4, "error")
    engine.execute([one])
    found = answers.all()
    assert values(found) == [0]
    assert str(found[-1].error) == "enough"
    other, others = asking(1)
    engine.execute([other])
    others.all()
    assert answers.queue.empty()


@pytest.mark.parametrize("how", ["raise", "return"])
def test_an_execution_that_fails_ends_its_open_requests(engine: CallEngine, how: str) -> None:
    (first, before), (second, after) = asking(1), asking(1, how)
    third, never = asking(1)
    found = engine.execute([first, second, third])
    ends = [before.all()[-1].error if found[0] is None else found[0].error]
    ends.append(found[1].error if found[1] else after.all()[-1].error)
    ends.append(found[2].error if found[2] else never.all()[-1].error)
    words = "ValueError: told to raise" if how == "raise" else "the execute function must return None."
    assert all(type(error) is ExecutionError and words in str(error) for error in ends[1:])
    assert ends[0] is None or words in str(ends[0])
    if how == "raise":
        assert found[1] is None


def test_what_comes_after_the_end_is_refused_in_the_model(models: Opener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = models.start("stream")
    one, answers = asking(1, "twice")
    engine.execute([one])
    answers.all()
    engine.close()
    assert "Unable to send response. Response sender has been closed." in caplog.messages


def test_closing_tells_the_open_requests(models: Opener) -> None:
    engine = models.start("stream")
    one, answers = asking(1, "hold")
    engine.execute([one])
    assert values([answers.next()]) == [0]
    engine.close()
    assert str(answers.next().error) == "the model was closed before it answered"
    with pytest.raises(EngineError, match="closed"):
        engine.execute([asking(1)[0]])


def test_coroutines_of_several_executions_run_side_by_side(models: Opener) -> None:
    engine = models.start("stream_async")
    asked = []
    for count in (20, 1, 3):
        answers = Answers()
        assert engine.execute([call({"N": np.array([count], np.int32)}, answers)]) == [None]
        asked.append((count, answers))
    for count, answers in reversed(asked):
        assert values(answers.all()) == list(range(count))


def test_a_coroutine_that_raises_ends_its_open_requests(models: Opener) -> None:
    engine = models.start("stream_async")
    answers, others = Answers(), Answers()
    engine.execute([call({"N": np.array([-3], np.int32)}, answers)])
    engine.execute([call({"N": np.array([2], np.int32)}, others)])
    found = answers.all()
    assert values(found) == [0]
    assert str(found[-1].error).endswith("message: ValueError: told to raise")
    assert values(others.all()) == [0, 1]
