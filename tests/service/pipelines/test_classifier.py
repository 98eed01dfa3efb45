"""What a classifier is given of a message, and what is made of its answer."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.tensor import BYTES, FP32, Signature, TensorSpec
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    ModelUnavailableError,
)
from service.pipelines.classifier import Classifier, Intent, excerpts
from tests.service.pipelines.doors import TwoDoors

TEXT = TensorSpec("text", BYTES, (1,))
LABEL, CONFIDENCE = TensorSpec("label", BYTES, (1,)), TensorSpec("confidence", FP32, (1,))


def test_a_short_text_is_given_whole() -> None:
    assert excerpts(" where is my card? \n", 250) == [b"where is my card?"]
    assert excerpts("é" * 125, 250) == ["é".encode() * 125]
    assert excerpts("", 250) == [b""]


def test_of_a_long_text_the_beginning_and_the_end_are_given() -> None:
    assert excerpts("abcdefgh", 5) == [b"abcde", b"defgh"]
    assert excerpts("ééé", 5) == ["éé".encode(), "éé".encode()]
    assert excerpts("💳" * 3, 5) == ["💳".encode()] * 2


@given(st.text(st.characters(codec="utf-8")), st.integers(4, 40))
def test_excerpts_are_whole_characters_of_the_text_within_the_size(text: str, size: int) -> None:
    parts = excerpts(text, size)
    assert all(len(part) <= size and part.decode() in text for part in parts)
    assert len(parts) == 1 + (len(text.strip().encode()) > size)


def test_a_lone_surrogate_does_no_harm() -> None:
    assert excerpts("a\ud800b", 250) == [b"a?b"]


async def test_the_surer_excerpt_counts() -> None:
    doors = TwoDoors()
    doors.labels, doors.confidences = ["lost_card", "pin"], [0.25, 0.5]
    found = await Classifier("topic", 5, doors.infer).classify("hello, my pin?", deadline=3.0, priority=1)
    assert found == Intent("pin", 0.5, "linear")
    (request,) = doors.classified
    assert (request.model, request.outputs) == ("topic", ("label", "confidence"))
    assert (request.deadline, request.priority) == (3.0, 1)
    assert request.inputs["text"].tolist() == [[b"hello"], [b" pin?"]]


async def test_trouble_is_logged_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    doors = TwoDoors()
    classifier = Classifier("topic", 250, doors.infer)
    troubles: list[BatchyardError | None] = [
        ModelUnavailableError("model 'topic' is unavailable: restarting"),
        ModelUnavailableError("model 'topic' is unavailable: restarting"),
        EngineFailedError("broke"),
        None,
        EngineFailedError("broke"),
    ]
    found = []
    for doors.trouble in troubles:
        found.append(await classifier.classify("hi", 9.0, 0))
    assert [intent is None for intent in found] == [True, True, True, False, True]
    assert [(record.levelno, record.getMessage().rpartition(": ")[2]) for record in caplog.records] == [
        (logging.WARNING, "restarting"),
        (logging.WARNING, "broke"),
        (logging.WARNING, "broke"),
    ]


@pytest.mark.parametrize("error", [DeadlineExceededError("late"), DeadlineHopelessError("too late", 0.5)])
async def test_without_time_there_is_no_answer(error: BatchyardError) -> None:
    doors = TwoDoors()
    doors.trouble = error
    with pytest.raises(type(error)):
        await Classifier("topic", 250, doors.infer).classify("hi", 9.0, 0)


def test_a_model_that_is_no_classifier_is_told_what_it_lacks() -> None:
    classifier = Classifier("topic", 250, TwoDoors().infer)
    assert classifier.misfit(Signature((TEXT,), (LABEL, CONFIDENCE))) == ""
    assert classifier.misfit(Signature((TEXT,), (LABEL,))) == "output confidence FP32"
    odd = TensorSpec("text", FP32, (1,))
    assert classifier.misfit(Signature((odd,), ())) == "input text BYTES, output label BYTES, output confidence FP32"
