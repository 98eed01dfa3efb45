"""The replica of a stateful model over instances that do as they are told."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from engines.model_config import ModelConfig
from service.errors import (
    BatchyardError,
    CallerGoneError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    RetryLaterError,
    SequenceLostError,
)
from service.sequences.replica import SequenceReplica
from service.types import InferResponse, Job, Prediction
from tests.service.sequences.accumulator import Accumulator, config, job, sums


@asynccontextmanager
async def replica(*instances: Accumulator, model: ModelConfig | None = None) -> AsyncIterator[SequenceReplica]:
    model = model or config()
    assert model.sequence_batching is not None
    made = SequenceReplica("m:1", model, model.sequence_batching, instances, 50, time.monotonic)
    try:
        yield made
    finally:
        await made.close(1.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def fail(made: SequenceReplica, given: Job, kind: type[BatchyardError]) -> BatchyardError:
    with pytest.raises(kind) as caught:
        await made.infer(given)
    return caught.value


async def test_a_sequence_adds_up_and_another_does_not_see_it() -> None:
    async with replica(Accumulator()) as made:
        assert sums(await made.infer(job(1, 5, "s"))) == (5, 5)
        assert sums(await made.infer(job(2, 100, "s"))) == (100, 100)
        assert sums(await made.infer(job(1, 6))) == (11, 11)
        assert sums(await made.infer(job(1, 7, "e"))) == (18, 18)
        assert sums(await made.infer(job(2, 1, "e"))) == (101, 101)
        assert "START flag" in (await fail(made, job(1, 1), InvalidRequestError)).triton


async def test_requests_sent_at_once_are_answered_in_their_order() -> None:
    instance = Accumulator()
    instance.delays = [1, 0, 4, 2, 7]
    async with replica(instance) as made:
        flags = ["s", "", "", "", "e"]
        answers = await asyncio.gather(*(made.infer(job(1, 10**i, flag)) for i, flag in enumerate(flags)))
        assert [sums(answer)[0] for answer in answers] == [1, 11, 111, 1111, 11111]


async def test_waiting_for_a_turn_is_waiting_in_the_queue() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        instance.hold = asyncio.Event()
        first, second = (asyncio.create_task(made.infer(job(1, 1, flags))) for flags in ("s", ""))
        await until(lambda: instance.running)
        began = time.monotonic()
        await asyncio.sleep(0.01)
        waited = time.monotonic() - began
        instance.hold.set()
        assert (await second).timing.queue >= waited
        await first


async def test_all_requests_of_a_sequence_go_to_one_instance_and_slot() -> None:
    instances = Accumulator(), Accumulator()
    async with replica(*instances) as made:
        for name in (1, 2, 3):
            await made.infer(job(name, 1, "s"))
        for name in (3, 2, 1):
            await made.infer(job(name, 1))
        places = [[(j.request.sequence.id, j.slot) for j in one.jobs if j.request.sequence] for one in instances]
        assert places == [[(1, 0), (3, 1), (3, 1), (1, 0)], [(2, 0), (2, 0)]]


async def test_requests_that_are_no_step_of_a_sequence_are_refused() -> None:
    async with replica(Accumulator()) as made:
        lone = job(1, 1)
        lone.request.sequence = None
        await fail(made, lone, InvalidRequestError)
        error = await fail(made, replace(job(1, 1, "s"), rows=2), InvalidRequestError)
        assert error.triton.endswith("must specify batch-size 1 due to requirements of sequence batcher")


async def test_a_start_begins_a_running_sequence_anew() -> None:
    async with replica(Accumulator()) as made:
        await made.infer(job(1, 5, "s"))
        assert sums(await made.infer(job(1, 1, "s"))) == (1, 1)
        assert sums(await made.infer(job(1, 1))) == (2, 2)


async def test_a_failed_request_leaves_the_state_and_the_sequence_goes_on() -> None:
    instance = Accumulator()
    instance.errors = [None, EngineFailedError("broken"), InvalidRequestError("bad"), None]
    async with replica(instance) as made:
        await made.infer(job(1, 5, "s"))
        await fail(made, job(1, 1), EngineFailedError)
        await fail(made, job(1, 1), InvalidRequestError)
        assert sums(await made.infer(job(1, 2))) == (7, 7)


@pytest.mark.parametrize("error", [ModelUnavailableError("I said"), NotFoundError("I said"), CallerGoneError("I said")])
async def test_what_the_model_itself_said_is_no_refusal(error: BatchyardError) -> None:
    error.executed = True
    instance = Accumulator()
    instance.errors = [None, error]
    async with replica(instance) as made:
        await made.infer(job(1, 5, "s"))
        failed, behind = (asyncio.create_task(made.infer(job(1, value))) for value in (1, 2))
        assert sums(await behind) == (7, 7)
        assert failed.exception() is error


async def _refuse(_: Job) -> InferResponse:
    raise RetryLaterError("busy", 1.0)


async def garbage(made: SequenceReplica, given: Job, kind: type[BatchyardError]) -> int:
    """Objects that 50 requests, all of them refused, leave to the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            with suppress(kind):
                await made.infer(given)
        await asyncio.sleep(0)
        return gc.collect()
    finally:
        gc.enable()


async def test_refused_requests_leave_nothing_for_the_garbage_collector() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        for name in range(1, 5):
            await made.infer(job(name, 1, "s"))
        assert await garbage(made, job(9, 1, "s", deadline=0.0), DeadlineExceededError) < 50
        await made.infer(job(1, 1, "e"))
        instance.infer = _refuse  # type: ignore[method-assign]
        assert await garbage(made, job(9, 1, "se"), RetryLaterError) < 50


@pytest.mark.parametrize("error", [RetryLaterError("busy", 0.1), ModelUnavailableError("being opened anew")])
async def test_a_refused_request_is_sent_again_and_nothing_is_lost(error: BatchyardError) -> None:
    instance = Accumulator()
    instance.errors = [None, error]
    async with replica(instance) as made:
        await made.infer(job(1, 5, "s"))
        refused = [asyncio.create_task(made.infer(job(1, value))) for value in (1, 2)]
        await asyncio.wait(refused)
        errors = [task.exception() for task in refused]
        assert [(type(one), str(one)) for one in errors] == 2 * [(type(error), str(error))]
        assert errors[0] is not errors[1], "each caller adds its own traceback and words"
        assert [sums(await made.infer(job(1, value))) for value in (1, 2)] == [(6, 6), (8, 8)]


async def test_a_request_of_which_nobody_knows_ends_its_sequence() -> None:
    error = DeadlineExceededError("late")
    instance = Accumulator()
    instance.errors = [None, error]
    async with replica(instance) as made:
        await made.infer(job(1, 5, "s"))
        given_up, behind = (asyncio.create_task(made.infer(job(1, value))) for value in (1, 2))
        await asyncio.wait([given_up, behind])
        assert given_up.exception() is error
        assert isinstance(behind.exception(), SequenceLostError)
        await fail(made, job(1, 1), InvalidRequestError)
        assert sums(await made.infer(job(1, 1, "s"))) == (1, 1)


async def test_what_runs_is_finished_though_its_caller_leaves() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        await made.infer(job(1, 5, "s"))
        instance.hold = asyncio.Event()
        leaves, behind = (asyncio.create_task(made.infer(job(1, value))) for value in (1, 2))
        await until(lambda: instance.running)
        leaves.cancel()
        await asyncio.wait([leaves])
        assert leaves.cancelled()
        instance.hold.set()
        assert sums(await behind) == (8, 8)


async def test_a_caller_that_leaves_before_its_turn_ends_the_sequence() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        instance.hold = asyncio.Event()
        first, leaves, behind = (asyncio.create_task(made.infer(job(1, 1, flags))) for flags in ("s", "", ""))
        await until(lambda: instance.running)
        leaves.cancel()
        await asyncio.wait([leaves, behind])
        assert isinstance(behind.exception(), SequenceLostError)
        instance.hold.set()
        assert sums(await first) == (1, 1)
        await fail(made, job(1, 1), InvalidRequestError)
        assert made.pending == 0


async def test_a_sequence_waits_for_a_slot_until_its_deadline() -> None:
    async with replica(Accumulator(), model=config("oldest { max_candidate_sequences: 1 }")) as made:
        await made.infer(job(1, 1, "s"))
        error = await fail(made, job(2, 1, "s", deadline=time.monotonic() + 0.02), DeadlineExceededError)
        assert error.triton == "timeout of the corresponding sequence has been expired"
        waits = asyncio.create_task(made.infer(job(3, 7, "s")))
        await asyncio.sleep(0)
        assert made.pending == 1
        await made.infer(job(1, 1, "e"))
        assert sums(await waits) == (7, 7)


async def test_a_sequence_that_is_idle_too_long_leaves_its_slot() -> None:
    model = config("oldest { max_candidate_sequences: 1 }", idle=0.02)
    async with replica(Accumulator(), model=model) as made:
        await made.infer(job(1, 1, "s"))
        assert sums(await made.infer(job(2, 7, "s"))) == (7, 7)
        await fail(made, job(1, 1), InvalidRequestError)


async def test_a_model_that_remembers_itself_loses_its_sequences_with_its_engine() -> None:
    instance = Accumulator()
    async with replica(instance, model=config(state="")) as made:
        for name in (1, 2):
            await made.infer(job(name, 1, "s"))
        instance.faults.restarts += 1
        assert "engine was opened anew" in str(await fail(made, job(1, 1), SequenceLostError))
        assert len(instance.jobs) == 2, "the engine is not asked"
        await fail(made, job(1, 1), InvalidRequestError)
        await made.infer(job(1, 1, "s"))
        await made.infer(job(1, 1))


async def test_an_answer_of_an_engine_that_was_opened_anew_meanwhile_is_none() -> None:
    instance = Accumulator()
    async with replica(instance, model=config(state="")) as made:
        await made.infer(job(1, 1, "s"))
        instance.hold = asyncio.Event()
        lost = asyncio.create_task(made.infer(job(1, 1)))
        await until(lambda: instance.running)
        instance.faults.restarts += 1
        instance.hold.set()
        await asyncio.wait([lost])
        assert isinstance(lost.exception(), SequenceLostError)


async def test_implicit_state_outlives_an_engine() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        await made.infer(job(1, 1, "s"))
        instance.faults.restarts += 1
        assert sums(await made.infer(job(1, 2)))[1] == 3


async def test_the_state_is_asked_for_where_callers_name_outputs() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        given = job(1, 1, "s", outputs=("own",))
        await made.infer(given)
        assert instance.jobs[0].request.outputs == ("own", "after")
        assert given.request.outputs == ("own",)


async def test_the_next_request_runs_once_the_answers_of_a_stream_were_read() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        responses = await made.stream(job(1, 5, "s"))
        behind = asyncio.create_task(made.infer(job(1, 6)))
        await asyncio.sleep(0.01)
        assert not behind.done()
        assert sums(await responses.read()) == (5, 5)
        assert sums(await behind) == (11, 11)
        assert await responses.read() is None
        responses.close()
        closed = await made.stream(job(1, 1))
        closed.close()
        closed.close()
        assert (await made.infer(job(1, 1))).outputs["own"].item() == 13


async def test_a_stream_that_nobody_takes_is_closed() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        instance.hold = asyncio.Event()
        leaves = asyncio.create_task(made.stream(job(1, 5, "s")))
        await until(lambda: instance.running)
        leaves.cancel()
        behind = asyncio.create_task(made.infer(job(1, 6)))
        await asyncio.sleep(0)
        instance.hold.set()
        assert (await behind).outputs["own"].item() == 11


async def test_closing_answers_what_waits_and_refuses_what_comes() -> None:
    instance = Accumulator()
    async with replica(instance, model=config("oldest { max_candidate_sequences: 1 }")) as made:
        await made.infer(job(1, 1, "s"))
        waiting = [asyncio.create_task(made.infer(job(2, 1, flags))) for flags in ("s", "")]
        await asyncio.sleep(0)
        await made.close(5.0)
        assert [sums(await task)[0] for task in waiting] == [1, 2]
        assert instance.closed
        await fail(made, job(1, 1), ModelUnavailableError)
        assert made.fault == "it is being unloaded"


async def test_closing_gives_up_what_is_not_answered_in_time() -> None:
    instance = Accumulator()
    async with replica(instance) as made:
        instance.hold = asyncio.Event()
        waiting = [asyncio.create_task(made.infer(job(1, 1, flags))) for flags in ("s", "")]
        await until(lambda: instance.running)
        await made.close(0.01)
        await asyncio.wait(waiting[1:])
        assert isinstance(waiting[1].exception(), ModelUnavailableError)
        instance.hold.set()
        await waiting[0]


async def test_the_best_instance_is_what_is_predicted_and_one_that_can_answer_is_enough() -> None:
    slow, quick = Accumulator(), Accumulator()
    slow.prediction, quick.prediction = Prediction(1, 2, 3), Prediction(0, 1, 2)
    async with replica(slow, quick) as made:
        assert made.predict(1) == quick.prediction
        slow.fault = "lost"
        assert made.fault == ""
        quick.fault = "lost too"
        assert made.fault == "lost"
        slow.fault = quick.fault = ""
