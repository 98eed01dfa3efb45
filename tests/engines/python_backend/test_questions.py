"""Models that ask other models."""

import os
import signal
from collections.abc import Callable, Sequence
from threading import Event, Thread

import numpy as np
import pytest

from engines.calls import CallEngine, Question, ReadyQuestion, Respond, Response
from engines.errors import EngineLostError, ExecutionError, InvalidInputError, ModelAnsweredError
from tests.engines.python_backend.calling import PATIENCE, Answers, call, outputs, strings
from tests.engines.python_backend.conftest import Opener

X = np.array([1.0, 2.0], np.float32)
ERRORS = {
    "broken": ExecutionError("it broke"),
    "wrong": InvalidInputError("no such input"),
    "refusing": ModelAnsweredError("not here", "NOT_FOUND"),
    "half a character": ExecutionError("\ud800"),
}
UNSENDABLE = {
    "number": Response({}, {"x": 2**70}),
    "dtype": Response({"Y": np.array(["a"])}),
    "many, dtype": Response({"Y": np.array(["a"])}, final=False),
}


class Others:
    """The other models: each question is answered on a thread of its own, after it was put."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.given_up = Event()
        self.kill: Callable[[], None] = lambda: None

    def ask(self, question: Question | ReadyQuestion, respond: Respond) -> Callable[[], None]:
        if isinstance(question, ReadyQuestion):
            error = ExecutionError("nobody knows") if question.model == "ready, or not" else None
            respond(Response({}, {"ready": question.version == "2"}, error=error))
            return lambda: None
        self.questions.append(question)
        Thread(target=self._answer, args=(question, respond)).start()
        return self.given_up.set

    def _answer(self, question: Question, respond: Respond) -> None:
        if question.model in ERRORS:
            respond(Response(error=ERRORS[question.model]))
        elif question.model in UNSENDABLE:
            respond(UNSENDABLE[question.model])
        elif question.model == "out of this world":
            respond(Response(error=ModelAnsweredError("odd", "ODD")))
        elif question.model.startswith("many"):
            respond(_response(question, 1, final=False))
            if question.model == "many, cancelled":
                self.given_up.wait(PATIENCE)
            respond(_response(question, 2, final=False))
            respond(Response())
            respond(_response(question, 9, final=True))
        elif question.model == "deadly":
            self.kill()
        else:
            if question.model == "slow":
                Event().wait(0.2)
            respond(_response(question, 3, final=True))


def _response(question: Question, factor: int, *, final: bool) -> Response:
    return Response({"Y": factor * question.inputs["X"]}, {"factor": factor}, final)


@pytest.fixture(scope="module")
def others() -> Others:
    return Others()


@pytest.fixture(scope="module")
def engine(models: Opener, others: Others) -> CallEngine:
    return models.start("ask", others.ask)


def texts(engine: CallEngine, model: str) -> Sequence[str]:
    found = outputs(engine, call({"MODEL": strings(model), "X": X}))
    return [text.decode() for text in found["TEXT"]]


def test_a_question_and_its_answer_arrive_whole(engine: CallEngine, others: Others) -> None:
    assert texts(engine, "one") == ['[3.0, 6.0] {"factor": 3}']
    question = others.questions[-1]
    assert np.array_equal(question.inputs["X"], X)
    assert question.inputs["S"].tolist() == ["\u00e9".encode()]
    found = (question.model, question.version, question.outputs, question.id, dict(question.parameters))
    assert found == ("one", "2", ("Y",), "q", {"p": True})
    assert (question.correlation, question.start, question.end, question.timeout) == ("c", True, False, 5)
    assert not question.decoupled


@pytest.mark.parametrize(
    ("model", "text"),
    [("broken", "INTERNAL: it broke"), ("wrong", "INVALID_ARG: no such input"), ("refusing", "NOT_FOUND: not here")],
)
def test_an_error_is_an_answer(engine: CallEngine, model: str, text: str) -> None:
    assert texts(engine, model) == [text]


@pytest.mark.parametrize("model", [*UNSENDABLE, "half a character"])
def test_an_answer_that_cannot_be_sent_is_an_error_and_the_next_one_comes(
    engine: CallEngine, others: Others, model: str
) -> None:
    others.given_up.clear()
    (text,) = texts(engine, model)
    assert text.startswith("INTERNAL: the answer cannot be sent to the model: ")
    assert others.given_up.is_set() == model.startswith("many")
    assert texts(engine, "one") == ['[3.0, 6.0] {"factor": 3}']


def test_a_process_that_cannot_take_an_answer_ends_and_waits_no_longer(models: Opener, others: Others) -> None:
    with pytest.raises(EngineLostError, match="ended with code 1"):
        texts(models.start("ask", others.ask), "out of this world")


def test_a_model_is_told_who_is_ready(engine: CallEngine) -> None:
    assert texts(engine, "ready") == ["False", "True"]
    assert texts(engine, "ready, or not") == ["nobody knows"]


def test_a_decoupled_model_gives_any_number_of_answers(engine: CallEngine) -> None:
    wanted = ['[1.0, 2.0] {"factor": 1}', '[2.0, 4.0] {"factor": 2}', "nothing"]
    assert texts(engine, "many") == wanted
    assert texts(engine, "many, twice") == wanted * 2


def test_a_question_can_be_given_up(engine: CallEngine, others: Others) -> None:
    others.given_up.clear()
    assert texts(engine, "many, cancelled") == [
        '[1.0, 2.0] {"factor": 1}', "CANCELLED: the model gave this question up"
    ]  # fmt: skip
    assert others.given_up.is_set()


def test_questions_may_be_open_at_the_same_time(models: Opener, others: Others) -> None:
    engine = models.start("ask_async", others.ask)
    found = outputs(engine, call({"X": X}))["TEXT"]
    assert [text.decode() for text in found] == ["[3.0, 6.0]", "[3.0, 6.0]", "[1.0, 2.0]", "[2.0, 4.0]", "[]"]


def test_the_questions_of_a_lost_process_are_given_up(models: Opener, others: Others) -> None:
    others.given_up.clear()
    engine = models.start("ask", others.ask)
    others.kill = lambda: os.kill(engine.process_id, signal.SIGKILL)
    with pytest.raises(EngineLostError, match="ended by signal 9"):
        engine.execute([call({"MODEL": strings("deadly"), "X": X}, Answers())])
    assert others.given_up.wait(PATIENCE)


def test_a_model_that_waits_for_another_is_not_hung(models: Opener, others: Others) -> None:
    engine = models.start("ask", others.ask, batchyard__watchdog_ms="50")
    assert texts(engine, "slow") == ['[3.0, 6.0] {"factor": 3}']


def test_without_a_gateway_nobody_answers(models: Opener) -> None:
    (text,) = texts(models.start("ask"), "one")
    assert text == "INTERNAL: there is no model 'one' to ask: nothing else is served here"
