"""Sequences through a route: all steps of one go to the variant that has it, or are told that it is lost."""

from dataclasses import replace

import pytest

from service.catalog import Model
from service.errors import EngineFailedError, ModelUnavailableError, RetryLaterError, SequenceLostError
from service.intake import TensorIntake
from service.routing import sequences
from service.routing.policies import Option, Variant, fastest, ordered
from service.routing.sequences import Held
from service.routing.served import Served
from service.types import Hints, InferRequest, SequenceStep
from tests.service.routing.doubles import SIGNATURE, Double, Setting


def step(name: int | str = 1, flags: str = "") -> SequenceStep:
    return SequenceStep(name, "s" in flags, "e" in flags)


async def test_steps_go_where_the_first_went_whatever_the_policy_says() -> None:
    setting = Setting("a", "b", policy=fastest)
    setting["a"].errors = [RetryLaterError("busy", 1.0), None]
    assert (await setting.infer(sequence=step(1, "s"))).model == "b", "a refuses"
    assert (await setting.infer(sequence=step(2, "s"))).model == "a"
    assert [(await setting.infer(sequence=step(name))).model for name in (1, 2, 1, 2)] == ["b", "a", "b", "a"]
    assert (await setting.infer(sequence=step(1, "e"))).model == "b"
    assert (await setting.infer(sequence=step(1))).model == "a", "it is over: nobody has it"


async def test_streams_do_as_well() -> None:
    setting = Setting("a", "b", policy=ordered)
    setting["a"].fault = "ill"
    await setting.infer(sequence=step(1, "s"))
    setting["a"].fault = ""
    with pytest.raises(AttributeError, match="stream"):
        await setting.gateway.stream(setting.request(sequence=step(1)))  # doubles have none, and b is asked for it
    assert setting.counts == [0, 1]


async def test_a_variant_that_is_ill_keeps_its_sequences() -> None:
    setting = Setting("a", "b", policy=ordered)
    await setting.infer(sequence=step(1, "s"))
    setting["a"].fault = "ill"
    error = await setting.fail(ModelUnavailableError, sequence=step(1))
    assert "a: ill" in str(error)
    setting["a"].fault = ""
    assert (await setting.infer(sequence=step(1))).model == "a"
    assert setting.counts == [2, 0]


async def test_a_step_is_sent_once() -> None:
    setting = Setting("a", "b", policy=ordered)
    setting["a"].errors = [None, EngineFailedError("broken"), None]
    await setting.infer(sequence=step(1, "s"))
    await setting.fail(EngineFailedError, sequence=step(1))
    assert setting.counts == [2, 0]
    assert (await setting.infer(sequence=step(1))).model == "a"


async def test_a_sequence_is_lost_with_the_model_that_had_it() -> None:
    setting = Setting("a", "b", policy=ordered)
    await setting.infer(sequence=step("x", "s"))
    anew = Double("a")
    setting.catalog.models["a"] = Model("a", versions={"1": Served(TensorIntake(SIGNATURE), anew)})
    error = await setting.fail(SequenceLostError, sequence=step("x"))
    assert str(error).startswith("sequence 'x' of route 'both' is lost: 'a', which had it, was unloaded or loaded anew")
    await setting.infer(sequence=step("x", "s"))
    await setting.infer(sequence=step("x"))
    assert len(anew.asked) == 2


async def test_a_sequence_is_lost_with_the_model_that_was_unloaded() -> None:
    setting = Setting("a", "b", policy=ordered)
    await setting.infer(sequence=step("x", "s"))
    setting.catalog.models["a"] = Model("a", reason="it was unloaded")
    await setting.fail(SequenceLostError, sequence=step("x"))
    assert (await setting.infer(sequence=step("x", "s"))).model == "b"


def test_those_of_which_nothing_was_heard_for_longest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequences, "MOST", 2)
    held = Held()
    served = Served(TensorIntake(SIGNATURE), Double("a"))
    option = Option(Variant("a"), served)
    for name in (1, 2, 1, 3):
        held.asks(step(name), option)
    found = {name: _variant(held, name, served) for name in (1, 2, 3)}
    assert found == {1: "a", 2: "", 3: "a"}


def test_who_names_a_variant_gets_it() -> None:
    held = Held()
    served = Served(TensorIntake(SIGNATURE), Double("a"))
    held.asks(step(1), Option(Variant("a"), served))
    request = InferRequest("both", {}, hints=Hints(variant="b"), sequence=step(1))
    assert held.hints(request, lambda model: served).variant == "b"
    assert held.hints(replace(request, hints=Hints(), sequence=step(1, "s")), lambda model: served).variant == ""


def _variant(held: Held, name: int, served: Served) -> str:
    return held.hints(InferRequest("both", {}, sequence=step(name)), lambda model: served).variant
