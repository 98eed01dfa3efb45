"""A model asked by its own name goes the way of a route of one."""

import asyncio

import pytest

from service.errors import (
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    QueueFullError,
)
from service.generating import GenerateRequest
from service.routing.asking import PATIENT, PRESSED
from service.routing.breaker import FAILING_FOR, FAILURES, FIRST_PAUSE, LATE
from service.types import DIRECT, Candidate, Hints, InferRequest, Prediction
from tests.service.routing.doubles import Double, Setting, until

SLOW = Prediction(queue=0.4, seconds=0.5, p95=0.6)


async def test_an_answer_is_not_routed() -> None:
    setting = Setting("a")
    assert (await setting.infer("a")).routed is DIRECT
    assert setting["a"].costs == [], "nobody asked for a prediction"
    assert setting.series("batchyard_route_requests_total") == []


async def test_failures_in_a_row_open_its_breaker() -> None:
    setting = Setting("a")
    setting["a"].errors = [EngineFailedError("broken")]
    await setting.fail(EngineFailedError, "a")
    setting.clock.now += FAILING_FOR
    for _ in range(FAILURES - 1):
        await setting.fail(EngineFailedError, "a")
    error = await setting.fail(ModelUnavailableError, "a")
    assert str(error) == "model 'a' is unavailable: broken"
    assert error.retry_after == FIRST_PAUSE
    assert setting.gateway.model("a").reason == "broken"
    setting.clock.now += FIRST_PAUSE
    setting["a"].errors = []
    setting["a"].hold = asyncio.Event()
    probe = asyncio.create_task(setting.infer("a"))
    await until(lambda: len(setting["a"].asked) == FAILURES + 1)
    await setting.fail(ModelUnavailableError, "a")
    setting["a"].hold.set()
    await probe
    assert (await setting.infer("a")).model == "a"


async def test_a_probe_whose_caller_leaves_lets_the_next_one_try() -> None:
    setting = Setting("a")
    setting["a"].errors = [EngineFailedError("broken")]
    for _ in range(FAILURES):
        await setting.fail(EngineFailedError, "a")
    setting.clock.now += FIRST_PAUSE
    setting["a"].errors, setting["a"].hold = [], asyncio.Event()
    probe = asyncio.create_task(setting.infer("a"))
    await until(lambda: len(setting["a"].asked) == FAILURES + 1)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    setting["a"].hold = None
    assert (await setting.infer("a")).model == "a"


async def test_a_model_that_refuses_is_asked_its_prediction_first() -> None:
    setting = Setting("a")
    setting["a"].errors = [QueueFullError("full", 1.0), None]
    setting["a"].prediction = SLOW
    await setting.fail(QueueFullError, "a")
    error = await setting.fail(DeadlineHopelessError, "a", within=0.5)
    assert error.retry_after == pytest.approx(0.1)
    assert "the answer is predicted in 600 ms" in str(error)
    assert setting.counts == [1]
    assert (await setting.infer("a", within=0.7)).model == "a"
    setting["a"].prediction = Prediction(0.0, 0.5, 0.6)
    assert (await setting.infer("a", within=0.1)).model == "a", "an idle one has the last word"
    setting.clock.now += PRESSED
    setting["a"].prediction = SLOW
    assert (await setting.infer("a", within=0.1)).model == "a"


async def test_hints_that_do_not_fit_a_model() -> None:
    setting = Setting("a", qualities=(0.98,))
    assert "'a' is a model, not a route" in str(await setting.fail(NotFoundError, "a", hints=Hints(variant="b")))
    assert (await setting.infer("a", hints=Hints(variant="a", min_quality=0.98))).model == "a"
    error = await setting.fail(InvalidRequestError, "a", hints=Hints(min_quality=0.99))
    assert (error.param, "has a quality of 0.98" in str(error)) == ("min_quality", True)


async def test_who_asks_is_told_whom_it_came_to() -> None:
    setting = Setting("a")
    routed = (await setting.infer("a", hints=Hints(explain=True))).routed
    assert routed.candidates == (Candidate("a:1", Prediction(), "chosen"),)


@pytest.mark.parametrize("generates", [False, True])
async def test_a_version_that_is_loaded_anew_meanwhile_is_asked_again(generates: bool) -> None:
    setting, successor = Setting("a"), Double("a")
    setting["a"].errors = [ModelUnavailableError("it is being unloaded")]
    setting["a"].hold = asyncio.Event()
    asked: InferRequest | GenerateRequest = setting.generation("a") if generates else setting.request("a")
    gateway = setting.gateway
    asking = asyncio.create_task(gateway.generate(asked) if generates else gateway.infer(asked))  # type: ignore[arg-type]
    await until(lambda: bool(setting["a"].asked))
    served = setting.catalog.models["a"].versions["1"]
    setting.catalog.models["a"].versions["1"] = type(served)(served.intake, successor)
    setting["a"].hold.set()
    assert (await asking).model == "a"
    assert len(successor.asked) == 1


async def test_a_version_that_is_gone_for_good_says_why() -> None:
    setting = Setting("a")
    setting["a"].errors = [ModelUnavailableError("it is being unloaded")]
    assert str(await setting.fail(ModelUnavailableError, "a")) == "it is being unloaded"
    assert setting.counts == [1]


@pytest.mark.parametrize(("seconds", "ready"), [(PATIENT, False), (PATIENT / 2, True)])
async def test_a_replica_that_lets_all_deadlines_pass_is_ill(seconds: float, ready: bool) -> None:
    setting = Setting("a")
    setting["a"].errors = [DeadlineExceededError("late")]
    for _ in range(4 * LATE):
        setting["a"].hold = asyncio.Event()
        asking = asyncio.create_task(setting.infer("a"))
        await asyncio.sleep(0)
        setting.clock.now += seconds
        setting["a"].hold.set()
        with pytest.raises((DeadlineExceededError, ModelUnavailableError)):
            await asking
    assert setting.gateway.model("a").ready is ready


async def test_text_that_waits_long_for_a_place_makes_nobody_ill() -> None:
    setting = Setting("a")
    setting["a"].errors = [DeadlineExceededError("the deadline passed in the queue")]
    for _ in range(4 * LATE):
        setting["a"].hold = asyncio.Event()
        asking = asyncio.create_task(setting.gateway.generate(setting.generation("a")))
        await asyncio.sleep(0)
        setting.clock.now += PATIENT
        setting["a"].hold.set()
        with pytest.raises(DeadlineExceededError):
            await asking
    assert setting.gateway.model("a").ready
