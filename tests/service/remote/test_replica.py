"""A model of other servers as routing sees it: sequences, streams, wrong answers, and its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from engines.calls import Question, Response
from engines.errors import EngineBusyError, ExecutionError, InvalidInputError
from service.errors import (
    BatchyardError,
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    RetryLaterError,
    UnsupportedError,
)
from service.remote.asking import Asking
from service.remote.endpoint import Endpoint
from service.remote.fleet import Fleet
from service.remote.pool import Pool
from service.remote.replica import PoolReplica, Servers
from service.remote.sequences import Sequences
from service.types import InferRequest, Job, Responses, SequenceStep
from tests.engines.config_text import model_folder, read
from tests.service.remote.doubles import GONE, Clock, pool_of, server_of, servers_of, settle

CONFIG = """
backend: "triton" max_batch_size: 8
input { name: "IN" data_type: TYPE_FP32 dims: [ 1 ] } output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
"""
DECOUPLED = CONFIG + "model_transaction_policy { decoupled: true }\n"
ONE = Response({"OUT": np.zeros(1, np.float32)}, final=False)


def replica_of(folder: Path, clock: Clock, *names: str, config: str = CONFIG) -> tuple[PoolReplica, list[Endpoint]]:
    pool, endpoints = pool_of(clock, *names)
    servers = Servers(pool, Fleet(servers_of({}), pool, clock), Asking(pool, clock))
    found = read(config, model_folder(folder))
    return PoolReplica("m:1", found, servers, Sequences("m", 0.0, clock), clock), endpoints


def job(sequence: SequenceStep | None = None, deadline: float = 2000.0) -> Job:
    request = InferRequest("m", {"IN": np.zeros((1, 1), np.float32)}, deadline=deadline, sequence=sequence)
    return Job(request, (request.inputs,), (1,))


def counts(endpoints: list[Endpoint]) -> list[int]:
    return [len(server_of(endpoint).asked) for endpoint in endpoints]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (InvalidInputError("no"), InvalidRequestError),
        (EngineBusyError("full", 2.0), RetryLaterError),
        (GONE, ModelUnavailableError),
        (ExecutionError("boom"), EngineFailedError),
    ],
)
async def test_errors_in_the_gateways_words(tmp_path: Path, said: Exception, kind: type[BatchyardError]) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    server_of(a).says = said  # type: ignore[assignment]
    with pytest.raises(kind) as raised:
        await replica.infer(job())
    if isinstance(raised.value, RetryLaterError | ModelUnavailableError):
        assert raised.value.retry_after > 0


async def test_a_passed_deadline_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    replica, endpoints = replica_of(tmp_path, clock := Clock(), "a")
    with pytest.raises(DeadlineExceededError):
        await replica.infer(job(deadline=clock.now))
    assert counts(endpoints) == [0]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ('"OUT" data_type: TYPE_INT8', "has numpy dtype float32, not INT8"),
        ('"Y" data_type: TYPE_FP32', "lacks output 'Y'"),
    ],
)
async def test_an_answer_must_be_what_was_promised(tmp_path: Path, output: str, said: str) -> None:
    config = CONFIG.replace('"OUT" data_type: TYPE_FP32', output)
    replica, _ = replica_of(tmp_path, Clock(), "a", config=config)
    with pytest.raises(EngineFailedError, match=said):
        await replica.infer(job())


async def test_the_one_answer_of_a_decoupled_model_is_unsupported(tmp_path: Path) -> None:
    replica, _ = replica_of(tmp_path, Clock(), "a", config=DECOUPLED)
    with pytest.raises(UnsupportedError, match="any number of answers") as raised:
        await replica.infer(job())
    assert raised.value.triton == "ModelInfer RPC doesn't support models with decoupled transaction policy"


async def test_a_caller_that_leaves_as_the_first_answer_comes_leaves_nothing_behind(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a", config=DECOUPLED)
    for ticks in range(12):
        come, ended = asyncio.Event(), asyncio.Event()

        async def stream(question: Question, seconds: float) -> AsyncGenerator[Response, None]:
            try:
                await come.wait()  # noqa: B023
                yield ONE
                yield ONE
            finally:
                ended.set()  # noqa: B023

        server_of(a).stream = stream  # type: ignore[method-assign]
        task = asyncio.create_task(replica.stream(job()))
        await settle()
        come.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            (await task).close()
        async with asyncio.timeout(5):
            await ended.wait()
        assert (a.in_flight, len(a.running), len(replica._streams)) == (0, 0, 0)


async def test_closing_tells_who_reads_a_stream(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a", config=DECOUPLED)
    server_of(a).stream_of, server_of(a).says = [ONE], ""
    responses = await replica.stream(job())
    assert (await responses.read()) is not None
    reading = asyncio.create_task(responses.read())
    await settle()
    await replica.close(0.01)
    with pytest.raises(ModelUnavailableError, match="unloaded before the answer was complete"):
        await reading
    assert a.in_flight == 0


async def read_all(responses: Responses) -> int:
    number = 0
    while (answer := await responses.read()) is not None:
        number += bool(answer.outputs)
    return number


async def test_a_stream_that_has_not_begun_is_asked_elsewhere(tmp_path: Path) -> None:
    replica, endpoints = replica_of(tmp_path, Clock(), "a", "b", config=DECOUPLED)
    server_of(endpoints[0]).stream_of = [GONE]
    server_of(endpoints[1]).stream_of = [ONE, ONE, Response()]
    assert await read_all(await replica.stream(job())) == 2
    assert [endpoint.in_flight for endpoint in endpoints] == [0, 0]
    assert not endpoints[0].up


async def test_a_stream_that_has_begun_is_not(tmp_path: Path) -> None:
    replica, endpoints = replica_of(tmp_path, Clock(), "a", "b", config=DECOUPLED)
    server_of(endpoints[0]).stream_of = [ONE, GONE]
    responses = await replica.stream(job())
    assert (await responses.read()) is not None
    for _ in range(2):
        with pytest.raises(EngineFailedError, match="a left in the middle of its answers"):
            await responses.read()
    assert counts(endpoints) == [1, 0]
    assert (endpoints[0].in_flight, endpoints[0].up) == (0, False)


async def test_a_stream_of_a_server_that_hangs_ends_with_it(tmp_path: Path) -> None:
    clock = Clock()
    replica, (a, _) = replica_of(tmp_path, clock, "a", "b", config=DECOUPLED)
    server_of(a).stream_of, server_of(a).says = [ONE], ""
    responses = await replica.stream(job())
    assert (await responses.read()) is not None
    reading = asyncio.create_task(responses.read())
    await settle()
    pool: Pool = replica._pool
    pool.eject(a, "it hangs")
    pool.cut(a)
    with pytest.raises(EngineFailedError, match="it hangs"):
        await reading


async def test_closing_answers_what_it_holds_and_refuses_the_rest(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    server_of(a).says = ""
    task = asyncio.create_task(replica.infer(job()))
    await settle()
    closing = asyncio.create_task(replica.close(5.0))
    await settle()
    with pytest.raises(ModelUnavailableError, match="unloaded"):
        await replica.infer(job())
    server_of(a).told.set()
    assert (await task).outputs
    await closing
    assert server_of(a).closed
    assert replica.fault


async def test_what_is_left_at_the_end_of_the_grace_is_told_so(tmp_path: Path) -> None:
    replica, (a,) = replica_of(tmp_path, Clock(), "a")
    server_of(a).says = ""
    task = asyncio.create_task(replica.infer(job()))
    await settle()
    await replica.close(0.01)
    with pytest.raises(ModelUnavailableError):
        await task
