"""A model of another server as a replica: bounded, with deadlines, its errors in our words."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from engines.errors import EngineError
from engines.generation import Chat, GenerationCall, RemoteGenerator
from engines.model_config import ModelConfig, TextGeneration
from service.errors import (
    DeadlineExceededError,
    DeadlineHopelessError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
)
from service.generating import GenerateRequest, GenerationTiming, cannot_infer
from service.generation.admission import due_of
from service.generation.options import cannot, check_features
from service.generation.remote_admission import RemoteAdmission
from service.generation.remote_stream import RemoteGeneration, in_our_words
from service.responses import OneResponse
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant

_FIRST_GUESS = 1.0
"""Seconds an answer takes, until one was seen."""
_WEIGHT = 0.1
"""Of a new observation in the running mean."""
_CLOSING = 2.0
"""Seconds that closing the last connections may take."""


class RemoteReplica:
    """Implements `service.routing.replica.Replica` over another server. Used on the event loop.

    At most `max_sequences` answers are asked for at once, `max_waiting` wait. `name`: `model:version`.
    """

    def __init__(self, name: str, remote: RemoteGenerator, config: ModelConfig, clock: Callable[[], float]) -> None:
        settings = config.generation or TextGeneration()
        self.name = name
        self._model, _, self._version = name.rpartition(":")
        self._backend = config.backend
        self._remote = remote
        self._clock = clock
        self._places = settings.max_sequences
        self._admission = RemoteAdmission(settings.max_sequences, settings.max_waiting)
        self._seconds = _FIRST_GUESS
        self._generations: dict[RemoteGeneration, int] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = ""

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`: what it holds has to be done first; that fills places before it makes a queue."""
        ahead = self._admission.held - self._admission.waiting + self._admission.ahead(tenant)
        seconds = self._seconds * ahead / self._places
        return Prediction(0.0 if self._admission.is_free(1) else seconds, seconds, seconds)

    @property
    def running(self) -> int:
        """Answers that the other server generates."""
        return self._admission.held - self._admission.waiting

    @property
    def waiting(self) -> int:
        """Answers in the queue."""
        return self._admission.waiting

    @property
    def fault(self) -> str:
        """Why it cannot answer at all; "" if it can. Whether the server can be reached, its breaker knows."""
        return self._closed

    async def infer(self, job: Job) -> InferResponse:
        """Not what a generator does."""
        raise cannot_infer(self.name)

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        return OneResponse(await self.infer(job))

    async def generate(self, request: GenerateRequest) -> RemoteGeneration:
        """Asks the other server, and waits for its first events; raises `BatchyardError`."""
        self._check_features(request.call)
        arrival = self._clock()
        answers = len(request.call.prompts) * request.call.options.n
        tenant = request.hints.tenant
        predicted = self.predict(1, tenant=tenant)
        self._check_room(answers, request.deadline - arrival, tenant)
        await self._enter(answers, request, arrival)
        now = self._clock()
        stream = self._remote.stream(request.call, request.deadline - now)
        timing = GenerationTiming(queue=now - arrival, predicted=predicted)
        answerer = (self._model, self._version, self._backend)
        generation = RemoteGeneration(answerer, stream, timing, self._clock, self._ended)
        self._generations[generation] = answers
        generation.expire_in(request.deadline - now)
        try:
            await generation.begin()
        except EngineError as error:
            raise in_our_words(error) from error
        return generation

    def _check_features(self, call: GenerationCall) -> None:
        features = self._remote.features
        check_features(call.options, features, self._backend)
        if "tools" not in features and any(isinstance(prompt, Chat) and prompt.tools for prompt in call.prompts):
            raise cannot("tools", self._backend)

    def _check_room(self, answers: int, left: float, tenant: Tenant) -> None:
        if self.fault:
            raise self._unavailable()
        if not self._admission.could_hold(answers):
            raise InvalidRequestError(f"{answers} answers at once are more than this model takes; ask for fewer", "n")
        if not self._admission.has_room(answers, tenant):
            later = self._seconds * min(1.0, answers / self._places)
            raise QueueFullError(f"{self._admission.waiting} answers wait already; come back later", later)
        if left <= 0:
            raise DeadlineExceededError("the deadline passed before the request was made")
        ahead = self._admission.ahead(tenant) + answers
        wait = 0.0 if self._admission.is_free(answers) else self._seconds * ahead / self._places
        if wait > left:
            text = f"the request would wait for {wait:.2f} s, the deadline is in {left:.2f} s"
            raise DeadlineHopelessError(text, wait - left)

    async def _enter(self, answers: int, request: GenerateRequest, arrival: float) -> None:
        due = due_of(arrival, request.priority)
        left = request.deadline - self._clock()
        try:
            async with asyncio.timeout(left if left < float("inf") else None):
                await self._admission.enter(answers, due, request.hints.tenant)
        except TimeoutError:
            raise DeadlineExceededError("the deadline passed in the queue") from None

    def _unavailable(self) -> ModelUnavailableError:
        return ModelUnavailableError(f"model {self._model!r} is unavailable: {self.fault}")

    def _ended(self, generation: RemoteGeneration) -> None:
        """Frees its place at once; the connection is closed by a task."""
        if generation.complete:
            self._seconds += _WEIGHT * (self._clock() - generation.started - self._seconds)
        self._admission.leave(self._generations.pop(generation))
        task = asyncio.get_running_loop().create_task(generation.finish())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self, grace: float) -> None:
        """Answers what it holds for at most `grace` seconds, then ends the rest and closes all connections."""
        self._closed = "it is being unloaded"
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._admission.empty()
        gone = ModelUnavailableError(f"model {self._model!r} was unloaded before the answer was complete; ask again")
        self._admission.fail(gone)
        for generation in list(self._generations):
            generation.cut(gone)
        if self._ending:
            await asyncio.wait(self._ending, timeout=_CLOSING)
        await self._remote.close()
