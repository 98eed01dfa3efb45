"""Asking a second replica when the first is slow."""

import asyncio

import pytest

from service.errors import EngineFailedError, QueueFullError
from service.routing.hedge import AnswerTimes, hedged
from service.routing.policies import Variant, fastest
from service.types import Hints, InferResponse, Prediction, SequenceStep
from tests.service.routing.doubles import Setting, until

BROKEN = EngineFailedError("the engine failed")
ENOUGH = 128
"""Answers until a route knows what is slow."""


async def ready(setting: Setting) -> Setting:
    """A route that has seen answers, all at once on a clock that stands still, and whose first replica now hangs."""
    for _ in range(ENOUGH):
        await setting.infer()
    for double in setting.doubles.values():
        double.asked.clear()
    setting["a"].hold = asyncio.Event()
    return setting


async def test_the_second_answers_and_the_first_is_cancelled() -> None:
    setting = await ready(Setting("a", "b", hedge=True))
    response = await setting.infer()
    assert (response.model, response.routed.hedged) == ("b", True)
    await until(lambda: setting["a"].cancelled == 1)
    assert setting.counts == [1, 1]
    name = "batchyard_hedges_total"
    assert setting.series(name) == [f'{name}{{route="both",won="true"}} 1.0']
    assert setting.series("nv_inference_request_success") == [
        f'nv_inference_request_success{{model="a",version="1"}} {ENOUGH}',
        'nv_inference_request_success{model="b",version="1"} 1',
    ]


async def test_the_first_may_still_win() -> None:
    setting = await ready(Setting("a", "b", hedge=True))
    setting["b"].hold = asyncio.Event()
    asking = asyncio.create_task(setting.infer())
    await until(lambda: setting.counts == [1, 1])
    setting["a"].hold.set()
    response = await asking
    assert (response.model, response.routed.hedged) == ("a", True)
    await until(lambda: setting["b"].cancelled == 1)
    assert 'won="false"} 1.0' in setting.series("batchyard_hedges_total")[0]


async def test_one_that_fails_leaves_it_to_the_other() -> None:
    setting = await ready(Setting("a", "b", hedge=True))
    setting["b"].errors = [BROKEN]
    asking = asyncio.create_task(setting.infer())
    await until(lambda: setting.counts == [1, 1])
    setting["a"].hold.set()
    assert (await asking).model == "a"
    setting["a"].errors = [EngineFailedError("this one too")]
    setting["a"].hold.clear()
    asking = asyncio.create_task(setting.infer())
    await until(lambda: setting.counts == [2, 2])
    setting["a"].hold.set()
    with pytest.raises(EngineFailedError, match="this one too"):
        await asking
    assert setting.counts == [2, 2], "the hedge was the second try"


async def test_both_are_dropped_with_their_caller() -> None:
    setting = await ready(Setting("a", "b", hedge=True))
    setting["b"].hold = asyncio.Event()
    asking = asyncio.create_task(setting.infer())
    await until(lambda: setting.counts == [1, 1])
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: setting["a"].cancelled == setting["b"].cancelled == 1)


@pytest.mark.parametrize(
    "why",
    ["not asked for", "no budget", "too late", "ill", "cheaper", "sequence", "pinned"],
)
async def test_nobody_else_is_asked(why: str) -> None:
    second = Variant("b", step_down=why == "cheaper")
    budget = 0.0 if why == "no budget" else 0.1
    setting = await ready(Setting("a", second, hedge=why != "not asked for", retry_budget=budget))
    setting["b"].prediction = Prediction(0.0, 0.0, 20.0 if why == "too late" else 0.0)
    setting["b"].fault = "it is being unloaded" if why == "ill" else ""
    step = SequenceStep(7) if why == "sequence" else None
    hints = Hints(variant="a" if why == "pinned" else "")
    asking = asyncio.create_task(setting.infer(sequence=step, hints=hints))
    await until(lambda: setting.counts[0] == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert setting.counts == [1, 0]
    setting["a"].hold.set()
    assert not (await asking).routed.hedged


async def test_a_refusal_of_the_hedged_goes_on_to_the_next() -> None:
    setting = await ready(Setting("a", "b", "c", policy=fastest, hedge=True))
    setting["b"].errors = [QueueFullError("full", 1.0)]
    setting["a"].errors = [QueueFullError("full", 1.0)]
    asking = asyncio.create_task(setting.infer())
    await until(lambda: setting.counts[:2] == [1, 1])
    setting["a"].hold.set()
    assert (await asking).model == "c"


def test_what_is_slow_is_known_once_there_are_enough() -> None:
    times = AnswerTimes()
    for number in range(96):
        times.record(number / 1000)
    assert times.slow == float("inf")
    for number in range(96, 1024):
        times.record(number % 100 / 1000)
    assert times.slow == pytest.approx(0.0985, abs=0.0006)
    for _ in range(512):
        times.record(0.01)
    assert times.slow == 0.01, "only what is recent counts"


async def test_nothing_is_asked_twice_before_its_time() -> None:
    asked = []

    async def quick() -> InferResponse:
        return InferResponse("a", "1", {})

    response, won = await hedged(quick(), 10.0, lambda: asked.append(1))
    assert (response.model, won, asked) == ("a", False, [])
