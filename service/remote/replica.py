"""A model of other servers as a replica: the one that would answer first is asked, health and errors in our words."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from engines.calls import Question, Response
from engines.errors import EngineError, InvalidOutputError
from engines.model_config import ModelConfig
from engines.tensor import TensorSpec
from service.errors import DeadlineExceededError, ModelUnavailableError
from service.generating import GenerateRequest, Generation, cannot_generate
from service.remote.asking import Asking, Work
from service.remote.endpoint import Endpoint
from service.remote.fleet import Fleet
from service.remote.pool import Pool
from service.remote.sequences import Sequences
from service.remote.streams import Answers, RemoteResponses, anext_of
from service.remote.words import COMES_BACK, in_our_words
from service.responses import OneResponse, has_many_answers
from service.types import ANYONE, InferRequest, InferResponse, Job, Prediction, Responses, Tenant, Timing

Answer = TypeVar("Answer")

_CLOSING = 2.0
"""Seconds that ending the last streams may take."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a model, how they are kept, and how they are asked."""

    pool: Pool
    fleet: Fleet
    asking: Asking


class PoolReplica:
    """Implements `service.routing.replica.Replica`. Used on the event loop. `name`: `model:version`.

    `sequences`: None where the model keeps no state, so that any server may have any request.
    """

    def __init__(
        self, name: str, config: ModelConfig, servers: Servers, sequences: Sequences | None, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self._model, _, self._version = name.rpartition(":")
        self._config = config
        self._outputs = {spec.name: spec for spec in config.outputs}
        self._pool, self._fleet, self._asking = servers.pool, servers.fleet, servers.asking
        self._sequences = sequences
        self._clock = clock
        self._closed = ""
        self._streams: set[RemoteResponses] = set()
        self._ending: set[asyncio.Task[None]] = set()

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`: that of its best server."""
        return self._pool.predict()

    @property
    def fault(self) -> str:
        """See `Replica`."""
        return self._closed or self._pool.fault

    @property
    def running(self) -> int:
        """Requests that its servers have."""
        return self._fleet.held

    def endpoints(self) -> Sequence[Endpoint]:
        """Its servers."""
        return list(self._pool.endpoints.values())

    async def infer(self, job: Job) -> InferResponse:
        """See `Replica`."""
        if self._config.decoupled:
            raise has_many_answers(self._model)
        return await self._infer(job)

    async def _infer(self, job: Job) -> InferResponse:
        predicted, start = self._pool.predict(), self._clock()
        question = _question(job.request)
        try:
            response = await self._ask(partial(self._answer, question), job)
        except EngineError as error:
            raise in_our_words(error, self._model) from error
        seconds = self._clock() - start
        cost = sum(job.costs)
        response.timing = Timing(0.0, seconds, 1, cost, cost, predicted, seconds, engine_seconds=seconds)
        response.tokens = cost
        return response

    async def _answer(self, question: Question, endpoint: Endpoint, left: float) -> InferResponse:
        return self._response(question, await endpoint.remote.infer(question, left))

    async def _ask(self, work: Work[Answer], job: Job) -> Answer:
        """Where a sequence has its state, else wherever it is answered first."""
        request, step = job.request, job.request.sequence
        self._check(request.deadline)
        if self._sequences is None or step is None:
            return await self._asking.anywhere(work, request.deadline)
        try:
            async with (
                asyncio.timeout(_bounded(request.deadline - self._clock())),
                self._sequences.turn(step, self._pool.choose) as endpoint,
            ):
                return await self._asking.at(endpoint, work, request.deadline)
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed before the answer was there") from None

    def _check(self, deadline: float) -> None:
        if self._closed:
            raise ModelUnavailableError(f"model {self._model!r} is unavailable: {self._closed}", COMES_BACK)
        if deadline <= self._clock():
            raise DeadlineExceededError("the deadline passed before the request was made")

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: the first answer is there when it returns."""
        if not self._config.decoupled:
            return OneResponse(await self._infer(job))
        try:
            return await self._ask(partial(self._begin, _question(job.request)), job)
        except EngineError as error:
            raise in_our_words(error, self._model) from error

    async def _begin(self, question: Question, endpoint: Endpoint, left: float) -> RemoteResponses:
        start = self._clock()
        answers = endpoint.remote.stream(question, left)
        try:
            first = await anext_of(answers)
        except BaseException:
            await answers.aclose()
            raise
        make = self._metered(question, start)
        responses = RemoteResponses(endpoint, answers, first, self._asking.of, make, partial(self._ended, endpoint))
        endpoint.enter()
        self._streams.add(responses)
        return responses

    def _metered(self, question: Question, since: float) -> Callable[[Response], InferResponse]:
        """Makes responses; each is charged the time since the one before it."""

        def make(answer: Response) -> InferResponse:
            nonlocal since
            response = self._response(question, answer)
            before, since = since, self._clock()
            response.timing.engine_seconds = since - before
            return response

        return make

    def _ended(self, endpoint: Endpoint, responses: RemoteResponses, answers: Answers) -> None:
        endpoint.leave()
        self._streams.discard(responses)
        task = asyncio.create_task(answers.aclose())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _response(self, question: Question, answer: Response) -> InferResponse:
        """Raises `InvalidOutputError` where it lacks what was asked for, or has it as another type."""
        if answer.outputs or not self._config.decoupled:
            for name in question.outputs or self._outputs:
                _check_output(self._outputs[name], answer)
        return InferResponse(
            self._model,
            self._version,
            dict(answer.outputs),
            self._config.backend,
            parameters=answer.parameters,
            final=answer.final,
        )

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these servers are asked for."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """See `Replica`."""
        self._closed = "it is being unloaded"
        await self._fleet.close(grace)
        gone = ModelUnavailableError(f"model {self._model!r} was unloaded before the answer was complete; ask again")
        for responses in list(self._streams):
            responses.cut(gone)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSING)


def _question(request: InferRequest) -> Question:
    step = request.sequence
    return Question(
        model=request.model,
        inputs=request.inputs,
        outputs=request.outputs,
        id=request.id,
        parameters=request.parameters,
        correlation=step.id if step else 0,
        start=step.start if step else False,
        end=step.end if step else False,
        priority=request.priority,
    )


def _check_output(spec: TensorSpec, answer: Response) -> None:
    found = answer.outputs.get(spec.name)
    if found is None:
        raise InvalidOutputError(f"the server's answer lacks output {spec.name!r}; it has {sorted(answer.outputs)}")
    if found.dtype != spec.datatype.numpy:
        raise InvalidOutputError(
            f"the server's output {spec.name!r} has numpy dtype {found.dtype}, not {spec.datatype}"
        )


def _bounded(seconds: float) -> float | None:
    return seconds if seconds < float("inf") else None
