"""Requests that a model takes one by one and answers at once: what it sees of them, and who gets which error."""

import asyncio
import time

import pytest

from engines.calls import Call, Response
from service.batching.losses import LONE_LOSSES
from service.errors import (
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
    UnsupportedError,
)
from service.types import InferResponse, SequenceStep
from tests.service.batching.calls import (
    BAD,
    DTYPE,
    INVALID,
    LOST,
    RAISES,
    SHAPE,
    WRONG,
    Doubling,
    Later,
    answer,
    job,
    replica,
    until,
    value,
)


async def test_a_call_says_all_that_the_request_did() -> None:
    engine = Doubling()
    async with replica(engine) as (made, _):
        step = SequenceStep("seven", start=True)
        response = await made.infer(job(4, deadline=time.monotonic() + 60, sequence=step, timeout=7))
        assert value(response.outputs) == 8
        assert response.parameters == {"told": "yes"}
        ((call,),) = engine.calls
        assert value(call.inputs) == 4
        assert (call.outputs, call.id, call.parameters) == (("x",), "id-7", {"color": "red"})
        assert (call.correlation, call.start, call.end) == ("seven", True, False)
        assert call.timeout == 7
        await made.infer(job(1))
        assert engine.calls[1][0].timeout == 0
        assert engine.calls[1][0].correlation == 0


async def in_one_batch(engine: Doubling, *numbers: float) -> list[InferResponse | BaseException]:
    async with replica(engine) as (made, records):
        engine.open.clear()
        first = asyncio.create_task(made.infer(job(0.5)))
        await until(lambda: len(engine.calls) == 1)
        tasks = [asyncio.create_task(made.infer(job(number))) for number in numbers]
        await until(lambda: made.pending == len(numbers))
        engine.open.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert value((await first).outputs) == 1
        assert records[1].requests == len(numbers)
    return ended


@pytest.mark.parametrize(
    ("bad", "kind", "said"),
    [
        (BAD, EngineFailedError, "the engine failed on this request: fails"),
        (WRONG, EngineFailedError, "not this"),
        (INVALID, InvalidRequestError, "bad value"),
        (SHAPE, EngineFailedError, "the engine failed on this request: output 'x' has shape [1, 2], wanted [-1, 1]"),
        (DTYPE, EngineFailedError, "the engine failed on this request: output 'x' has dtype float64, wanted FP32"),
    ],
)
async def test_an_error_is_that_of_one_request_and_nothing_is_run_again(
    bad: float, kind: type[Exception], said: str
) -> None:
    engine = Doubling()
    one, failed, two = await in_one_batch(engine, 1, bad, 2)
    assert isinstance(one, InferResponse)
    assert isinstance(two, InferResponse)
    assert (value(one.outputs), value(two.outputs)) == (2, 4)
    assert type(failed) is kind
    assert str(failed) == said
    assert len(engine.calls) == 2


async def test_a_batch_that_the_model_raises_on_fails_and_is_not_run_again() -> None:
    engine = Doubling()
    ended = await in_one_batch(engine, 1, RAISES)
    assert [str(error) for error in ended] == [
        "the engine failed on this request: Failed to process the request(s)",
    ] * 2
    assert len(engine.calls) == 2


async def test_a_request_that_failed_is_not_refused_the_next_time() -> None:
    """A model's error may depend on anything, not on its tensors alone."""
    engine = Doubling()
    async with replica(engine) as (made, _):
        for _ in range(3):
            await made.infer(job(1))
            with pytest.raises(EngineFailedError, match="fails"):
                await made.infer(job(BAD))
        assert made.faults.poison == 0


async def test_a_lost_engine_s_batch_is_answered_by_the_next_one_but_for_the_request_that_loses_engines() -> None:
    engines = [Doubling() for _ in range(2 + LONE_LOSSES)]
    async with replica(*engines) as (made, _):
        engines[0].open.clear()
        first = asyncio.create_task(made.infer(job(0.5)))
        await until(lambda: len(engines[0].calls) == 1)
        good = asyncio.create_task(made.infer(job(1)))
        bad = asyncio.create_task(made.infer(job(LOST)))
        await until(lambda: made.pending == 2)
        engines[0].open.set()
        assert value((await first).outputs) == 1
        assert value((await good).outputs) == 2
        with pytest.raises(EngineFailedError, match=f"lost {LONE_LOSSES} times while it ran nothing but this"):
            await bad
        assert made.faults.poison == 1
        with pytest.raises(EngineFailedError, match="refused for another"):
            await made.infer(job(LOST))
        await until(lambda: made.fault == "")
        assert value((await made.infer(job(3))).outputs) == 6


async def test_the_one_answer_may_come_later_and_from_any_thread() -> None:
    engine = Later()
    async with replica(engine) as (made, _):
        first = asyncio.create_task(made.infer(job(1)))
        await until(lambda: len(engine.open) == 1)
        second = asyncio.create_task(made.infer(job(2)))
        await until(lambda: len(engine.open) == 2)
        await asyncio.to_thread(engine.respond, 1, answer(20, final=False), Response())
        assert value((await second).outputs) == 20
        assert second.result().final
        assert not first.done()
        await asyncio.to_thread(engine.respond, 0, answer(10), answer(11))
        assert value((await first).outputs) == 10


async def test_each_answer_says_what_taking_the_batch_apart_took() -> None:
    async with replica(Doubling()) as (made, records):
        timing = (await made.infer(job(1))).timing
        await until(lambda: len(records) == 1)
        assert timing.output == records[0].output_seconds > 0
        assert timing.input == records[0].input_seconds
        assert timing.input + timing.output < timing.compute <= records[0].compute_seconds


async def test_a_request_that_ends_without_its_answer_is_an_error() -> None:
    engine = Later()
    async with replica(engine) as (made, _):
        task = asyncio.create_task(made.infer(job(1)))
        await until(lambda: len(engine.open) == 1)
        await asyncio.to_thread(engine.respond, 0, Response())
        with pytest.raises(EngineFailedError, match="without an answer"):
            await task


async def test_a_caller_who_leaves_is_seen_by_the_model() -> None:
    engine = Later()
    async with replica(engine) as (made, _):
        task = asyncio.create_task(made.infer(job(1)))
        await until(lambda: len(engine.open) == 1)
        assert not engine.open[0].cancelled()
        task.cancel()
        await asyncio.wait([task])
        assert engine.open[0].cancelled()


async def test_requests_that_are_open_are_bounded() -> None:
    engine = Later()
    async with replica(engine, max_queue=2) as (made, _):
        tasks = []
        for number in range(2):
            tasks.append(asyncio.create_task(made.infer(job(number))))
            await until(lambda: len(engine.open) == len(tasks))
        with pytest.raises(QueueFullError, match="2 requests are being answered"):
            await made.infer(job(3))
        await asyncio.to_thread(engine.respond, 0, answer(1))
        assert value((await tasks[0]).outputs) == 1
        tasks[1].cancel()


async def test_a_model_that_returns_too_few_answers_fails() -> None:
    class Short(Doubling):
        def execute(self, calls: list[Call]) -> list[Response | None]:  # type: ignore[override]
            return []

    async with replica(Short()) as (made, _):
        with pytest.raises(EngineFailedError, match="returned 0 answers to 1 requests"):
            await made.infer(job(1))


async def test_one_answer_is_not_asked_of_a_decoupled_model() -> None:
    async with replica(Later(), decoupled=True) as (made, _):
        with pytest.raises(UnsupportedError, match="generate_stream") as raised:
            await made.infer(job(1))
        assert raised.value.triton == "ModelInfer RPC doesn't support models with decoupled transaction policy"


async def test_what_is_open_at_the_end_of_the_grace_is_told_so() -> None:
    engine = Later()
    async with replica(engine, grace=0.05) as (made, _):
        task = asyncio.create_task(made.infer(job(1)))
        await until(lambda: len(engine.open) == 1)
    with pytest.raises(ModelUnavailableError, match="unloaded before the answer"):
        await task
    assert engine.closed == 1


async def test_what_is_open_is_answered_within_the_grace() -> None:
    engine = Later()
    async with replica(engine) as (made, _):
        task = asyncio.create_task(made.infer(job(1)))
        await until(lambda: len(engine.open) == 1)
        closing = asyncio.create_task(made.close(5.0))
        await until(lambda: made.fault != "")
        assert engine.closed == 0
        await asyncio.to_thread(engine.respond, 0, answer(10))
        assert value((await task).outputs) == 10
        await closing
        assert engine.closed == 1
