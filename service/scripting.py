"""What models ask other models through the gateway: Triton's business logic scripting."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from engines.calls import Ask, Question, ReadyQuestion, Respond, Response
from engines.errors import EngineError, ModelAnsweredError
from service.errors import (
    BatchyardError,
    CallerGoneError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    RetryLaterError,
    UnsupportedError,
)
from service.gateway import Gateway
from service.types import NO_HINTS, Hints, InferRequest, InferResponse, SequenceStep

LOGGER = logging.getLogger("batchyard.scripting")


@dataclass(slots=True)
class Scripting:
    """Makes the `engines.calls.Ask` of each model. `timeout`: seconds that a question may take where it names no limit.
    `most`: questions that one model may have open. `hints`: of all questions; nobody knows for whom a model asks.

    A model that asks itself, or in a circle, may wait for an instance that waits for it: the deadline ends that.
    """

    gateway: Gateway
    timeout: float
    most: int
    hints: Hints = NO_HINTS
    _loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """From now on questions are answered, on the event loop that runs."""
        self._loop = asyncio.get_running_loop()

    def of_a_model(self) -> Ask:
        """How one model asks. What it gives to be told the answers is called on the event loop, and must not block."""
        return Asking(self).ask

    def send(self, question: Question | ReadyQuestion, respond: Respond) -> "Future[None]":
        """Has a question answered; raises `EngineError` where nothing can answer."""
        work = self._answer(question, respond)
        try:
            if self._loop is not None:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # it is closed
            pass
        work.close()
        raise ModelAnsweredError("the gateway answers no questions of models now", "UNAVAILABLE")

    async def _answer(self, question: Question | ReadyQuestion, respond: Respond) -> None:
        try:
            if isinstance(question, ReadyQuestion):
                respond(Response(parameters={"ready": self._is_ready(question)}))
            elif question.decoupled:
                await self._stream(question, respond)
            else:
                self._check(question)
                response = await self.gateway.infer(self._request(question))
                respond(_told(response))
        except BatchyardError as error:
            respond(Response(error=_error(error)))
        except Exception as error:
            LOGGER.exception("answering a question to %s failed", question.model)
            respond(Response(error=ModelAnsweredError(f"{type(error).__name__}: {error}", "INTERNAL")))

    def _is_ready(self, question: ReadyQuestion) -> bool:
        try:
            return self.gateway.model(question.model, question.version).ready
        except NotFoundError:
            return False

    async def _stream(self, question: Question, respond: Respond) -> None:
        responses = await self.gateway.stream(self._request(question))
        try:
            final = False
            while (response := await responses.read()) is not None:
                final = response.final
                respond(_told(response))
            if not final:
                respond(Response())
        finally:
            responses.close()

    def _check(self, question: Question) -> None:
        config = self.gateway.model(question.model, question.version).config
        if config is not None and config.decoupled:
            text = f"model {question.model!r} gives any number of answers; ask it with decoupled=True"
            raise UnsupportedError(text)

    def _request(self, question: Question) -> InferRequest:
        seconds = question.timeout / 1e6 or self.gateway.timeout_of(question.model) or self.timeout
        step = SequenceStep(question.correlation, question.start, question.end) if question.correlation else None
        return InferRequest(
            question.model,
            dict(question.inputs),
            question.version,
            question.outputs,
            question.id,
            self.gateway.clock() + seconds,
            question.priority,
            question.parameters,
            self.hints,
            step,
            question.timeout,
        )


@dataclass(slots=True)
class Asking:
    """The questions of one model."""

    scripting: Scripting
    _open: int = 0
    _lock: Lock = field(default_factory=Lock)

    def ask(self, question: Question | ReadyQuestion, respond: Respond) -> Callable[[], None]:
        """Implements `engines.calls.Ask`."""
        with self._lock:
            full = self._open >= self.scripting.most
            self._open += not full
        if full:
            text = f"{self.scripting.most} questions of this model wait for their answers, as many as may"
            respond(Response(error=ModelAnsweredError(text, "UNAVAILABLE")))
            return _nothing
        try:
            future = self.scripting.send(question, respond)
        except EngineError as error:
            self._ended()
            respond(Response(error=error))
            return _nothing
        future.add_done_callback(partial(self._done, question, respond))
        return partial(_give_up, future)

    def _ended(self) -> None:
        with self._lock:
            self._open -= 1

    def _done(self, question: Question | ReadyQuestion, respond: Respond, future: "Future[None]") -> None:
        self._ended()
        if future.cancelled():
            respond(Response(error=ModelAnsweredError(f"the question to {question.model!r} was given up", "CANCELLED")))


def _give_up(future: "Future[None]") -> None:
    future.cancel()


def _nothing() -> None:
    """There is nothing to give up."""


def _told(response: InferResponse) -> Response:
    return Response(response.outputs, response.parameters, response.final)


def _error(error: BatchyardError) -> ModelAnsweredError:
    match error:
        case UnsupportedError():
            code = "UNSUPPORTED"
        case InvalidRequestError():
            code = "INVALID_ARG"
        case NotFoundError():
            code = "NOT_FOUND"
        case ModelUnavailableError() | RetryLaterError():
            code = "UNAVAILABLE"
        case CallerGoneError():
            code = "CANCELLED"
        case _:
            code = "INTERNAL"
    return ModelAnsweredError(str(error), code)
