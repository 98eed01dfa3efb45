"""Requests on their way through an ensemble: what runs at once, what is passed on, and how it ends."""

import asyncio

import numpy as np
import pytest

from service.errors import EngineFailedError, UnsupportedError
from service.types import DIRECT, Hints, Prediction, Routed, SequenceStep, Tenant
from tests.service.ensembles.models import Model, World, asking, offer, row, steps, tensors, until

DIAMOND = tensors("A", "D") + steps("left i=A -> o=B", "right i=A -> o=C", "join i=B j=C -> o=D")
CHAIN = tensors("A", "C") + steps("left i=A -> o=B", "right i=B -> o=C")


def world(decoupled: bool = False) -> World:
    """left: adds 1, takes 2 s; right: doubles, 3 s; join: subtracts, 1 s; many: one answer for each value."""
    return World(
        left=Model(offer("i", "o"), lambda t: [{"o": t["i"] + 1}], 2.0),
        right=Model(offer("i", "o"), lambda t: [{"o": t["i"] * 2}], 3.0),
        join=Model(offer("i j", "o"), lambda t: [{"o": t["i"] - t["j"]}], 1.0),
        many=Model(offer("i", "o", decoupled=True), lambda t: [{"o": row(v, v)} for v in t["i"][0]]),
    )


async def test_steps_that_do_not_wait_for_each_other_run_at_once() -> None:
    models = world()
    models["left"].hold, models["right"].hold = asyncio.Event(), asyncio.Event()
    answer = asyncio.create_task(models.ensemble(DIAMOND).infer(asking(A=row(5, 6))))
    await until(lambda: bool(models["left"].asked and models["right"].asked))
    models["right"].hold.set()
    await asyncio.sleep(0)
    assert not models["join"].asked
    models["left"].hold.set()
    response = await answer
    assert response.outputs["D"].tolist() == [[-4, -5]]
    assert response.engine == "left+right+join"
    assert (response.timing.compute, response.timing.actual) == (4.0, 4.0)
    assert response.final


async def test_what_is_passed_on() -> None:
    models = world()
    job = asking(A=row(1, 2))
    request = job.request
    request.priority, request.id, request.parameters = 2, "mine", {"k": "v"}
    request.sequence, request.hints = SequenceStep(7, start=True), Hints(variant="chain", tenant=Tenant("t"))
    await models.ensemble(CHAIN).infer(job)
    for name, inputs in (("left", [[1, 2]]), ("right", [[2, 3]])):
        (asked,) = models[name].asked
        assert (asked.deadline, asked.priority, asked.id, asked.parameters) == (9.0, 2, "mine", {"k": "v"})
        assert (asked.sequence, asked.hints.tenant.name, asked.hints.variant) == (SequenceStep(7, start=True), "t", "")
        assert (asked.inputs["i"].tolist(), asked.outputs, asked.version) == (inputs, ("o",), "")


async def test_a_model_may_say_where_the_next_stands_in_a_sequence() -> None:
    models = world()
    models["left"].parameters = {"sequence_id": 3, "sequence_start": True, "other": 1}
    response = await models.ensemble(CHAIN).infer(asking(A=row(1, 2)))
    assert models["right"].asked[0].sequence == SequenceStep(3, start=True)
    assert response.parameters == {"sequence_id": 3, "sequence_start": True, "sequence_end": False}
    models["left"].parameters = {"other": 1}
    job = asking(A=row(1, 2))
    job.request.sequence = SequenceStep("s", end=True)
    response = await models.ensemble(CHAIN).infer(job)
    assert response.parameters == {"sequence_id": "s", "sequence_start": False, "sequence_end": True}
    assert (await models.ensemble(CHAIN).infer(asking(A=row(1, 2)))).parameters == {}


async def test_the_first_error_ends_the_others_and_is_the_answer() -> None:
    models = world()
    models["left"].hold = asyncio.Event()
    error = EngineFailedError("broken").as_triton("it broke")
    models["right"].fails = error
    with pytest.raises(EngineFailedError) as caught:
        await models.ensemble(DIAMOND).infer(asking(A=row(1, 2)))
    assert caught.value is error
    assert error.triton == "in ensemble 'chain', it broke"
    assert (models["left"].cancelled, models["join"].asked) == (1, [])


async def test_a_caller_who_leaves_ends_the_steps() -> None:
    models = world()
    models["left"].hold = models["right"].hold = asyncio.Event()
    answer = asyncio.create_task(models.ensemble(DIAMOND).infer(asking(A=row(1, 2))))
    await until(lambda: bool(models["left"].asked and models["right"].asked))
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert (models["left"].cancelled, models["right"].cancelled) == (1, 1)


async def test_a_step_that_only_serves_what_nobody_wants_is_not_run() -> None:
    models = world()
    config = tensors("A", "B C") + steps("left i=A -> o=B", "right i=A -> o=C")
    response = await models.ensemble(config).infer(asking("C", A=row(1, 2)))
    assert {name: array.tolist() for name, array in response.outputs.items()} == {"C": [[2, 4]]}
    assert (models["left"].asked, response.engine) == ([], "right")


async def test_optional_inputs_and_outputs_that_are_left_out() -> None:
    """They are left out of what the steps are asked, too."""
    models = World(
        split=Model(offer("i j?", "o p"), lambda t: [{"o": t["i"]} if len(t) == 1 else {"o": t["i"], "p": t["j"]}]),
        right=Model(offer("i j?", "o"), lambda t: [{"o": sum(t.values(), row(0, 0))}]),
    )
    config = tensors("A B?", "D E") + steps("split i=A j=B -> o=C p=E", "right i=C j=E -> o=D")
    ensemble = models.ensemble(config)
    response = await ensemble.infer(asking(A=row(1, 2)))
    assert {name: array.tolist() for name, array in response.outputs.items()} == {"D": [[1, 2]]}
    assert [list(models[name].asked[0].inputs) for name in ("split", "right")] == [["i"], ["i"]]
    both = await ensemble.infer(asking(A=row(1, 2), B=row(3, 4)))
    assert {name: array.tolist() for name, array in both.outputs.items()} == {"D": [[4, 6]], "E": [[3, 4]]}


async def test_a_model_without_a_batch_dimension_in_a_batching_ensemble() -> None:
    models = world()
    models.models["right"] = Model(offer("i", "o", batch=0), lambda t: [{"o": t["i"] * 2}])
    response = await models.ensemble(CHAIN).infer(asking(A=row(1, 2)))
    assert models["right"].asked[0].inputs["i"].shape == (2,)
    assert response.outputs["C"].tolist() == [[4, 6]]


async def test_an_ensemble_reshapes_what_comes_and_goes() -> None:
    config = CHAIN.replace(
        '"A" data_type: TYPE_FP32 dims: [ 2 ]', '"A" data_type: TYPE_FP32 dims: [ 1, 2 ] reshape { shape: 2 }'
    )
    config = config.replace(
        '"C" data_type: TYPE_FP32 dims: [ 2 ]', '"C" data_type: TYPE_FP32 dims: [ 2, 1 ] reshape { shape: 2 }'
    )
    response = await world().ensemble(config).infer(asking(A=np.ones((1, 1, 2), np.float32)))
    assert response.outputs["C"].tolist() == [[[4], [4]]]


def test_predictions_follow_the_longest_way() -> None:
    models = world()
    models.predictions = {
        "left": Prediction(0.1, 0.2, 0.4),
        "right": Prediction(0.1, 0.3, 0.5),
        "join": Prediction(0.0, 0.1, 0.1),
    }
    assert models.ensemble(DIAMOND).predict(3) == Prediction(0.1, 0.4, 0.6)
    models.predictions = {name: Prediction(0.1, 0.2, 0.4) for name in ("left", "right")}
    assert models.ensemble(CHAIN).predict(3) == Prediction(0.2, 0.4, 0.8)


async def test_what_became_of_the_steps_is_told() -> None:
    models = world()
    infer = models.infer

    async def routed(request):  # type: ignore[no-untyped-def]
        response = await infer(request)
        if request.model == "left":
            response.routed = Routed("both", step_down="small:1", tries=("large:1: full",))
        return response

    assert (await models.ensemble(CHAIN).infer(asking(A=row(1, 2)))).routed is DIRECT
    models.infer = routed  # type: ignore[method-assign]
    response = await models.ensemble(CHAIN).infer(asking(A=row(1, 2)))
    assert response.routed == Routed(step_down="small:1", tries=("large:1: full",))
    assert response.timing.actual == 5.0


async def test_a_stream_of_a_plain_ensemble_is_one_answer() -> None:
    responses = await world().ensemble(CHAIN).stream(asking(A=row(1, 2)))
    response = await responses.read()
    assert response is not None
    assert (response.outputs["C"].tolist(), response.final) == ([[4, 6]], True)
    assert await responses.read() is None


async def test_a_decoupled_ensemble_has_no_single_answer() -> None:
    config = tensors("A", "B") + steps("many i=A -> o=B")
    with pytest.raises(UnsupportedError, match="gives any number of answers") as caught:
        await world().ensemble(config).infer(asking(A=row(1, 2)))
    assert caught.value.triton == "ModelInfer RPC doesn't support models with decoupled transaction policy"
