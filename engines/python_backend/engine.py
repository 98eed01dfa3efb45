"""Triton's Python backend: runs the `TritonPythonModel` of a `model.py` in a process of its own.

Where `batchyard.watchdog_ms` is not given, a process that gives no sign of life for 10 minutes counts as hung: an
answer, a question, a line for the log or a metric is a sign. One that waits for another model is not hung.
"""

import logging
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from types import MappingProxyType

from engines.apart_watchdog import OPENING_SECONDS
from engines.base import EngineOptions
from engines.calls import Call, Response
from engines.errors import EngineLostError, ExecutionError, ModelLoadError
from engines.python_backend.answers import request_of, response_of
from engines.python_backend.arguments import arguments_of, code_of, environment_of, instance_of
from engines.python_backend.messages import (
    Asked,
    AskedReady,
    Done,
    Dropped,
    Execute,
    Executed,
    Failed,
    FromModel,
    GaveUp,
    Initialize,
    IsCancelled,
    Level,
    Logged,
    Measured,
    Sent,
    Verdict,
    joined,
    parted,
)
from engines.python_backend.metrics import MetricFamily, MetricTable
from engines.python_backend.open_calls import OpenCalls
from engines.python_backend.process import Listener, ModelProcess
from engines.python_backend.questions import Questions
from engines.tensor import Array, Tensors
from engines.warmup import warmup_batches

SILENT_SECONDS = 600.0
"""Without a sign of life of a process whose model sets no limit."""

_LOG = logging.getLogger("engines.python_backend")
_LEVELS: MappingProxyType[Level, int] = MappingProxyType(
    {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
)


def open_engine(options: EngineOptions) -> "PythonEngine":
    """Starts the process and initializes the model; raises `ModelLoadError`, `EngineLostError` where it ends."""
    return PythonEngine(options)


class PythonEngine:
    """Implements `CallEngine`. After an `EngineLostError` it is closed; open another."""

    def __init__(self, options: EngineOptions) -> None:
        self._config = config = options.config
        self.signature = config.signature
        self._every_output = tuple(spec.name for spec in config.outputs)
        self._patience = config.watchdog or SILENT_SECONDS
        self._calls = OpenCalls()
        self._metrics = MetricTable()
        file = code_of(options)
        instance = instance_of(options)
        self._questions = Questions(instance, options.ask, lambda told, outputs: self._process.tell(told, outputs))
        listener = Listener(self._hear, self._mourn, self._questions.are_open)
        self._process = ModelProcess(instance, environment_of(options), listener)
        self._initialize(Initialize(instance, file, config.decoupled, arguments_of(options)))

    @property
    def process_id(self) -> int:
        """Of the process that runs the model."""
        return self._process.id

    @property
    def open_calls(self) -> int:
        """Calls that the model has yet to answer."""
        return len(self._calls)

    def warm_up(self) -> None:
        """Runs what `model_warmup` says; raises what goes wrong there."""
        for batch in warmup_batches(self._config) if self._config.warmup else ():
            self._run_once(Call(batch.inputs, lambda _: None, lambda: False))

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        """See `CallEngine`; waits without Python's lock."""
        keys = self._calls.add(calls)
        requests = [request_of(key, call, self._every_output) for key, call in zip(keys, calls, strict=True)]
        tensors = joined([call.inputs for call in calls])
        try:
            reply, outputs = self._process.ask(Execute(requests), Executed, self._patience, tensors)
        except BaseException:
            self._calls.forget(keys)
            raise
        found = self._settled(keys, reply, outputs)
        self._calls.leave(keys)
        return found

    def metrics(self) -> list[MetricFamily]:
        """The metrics that the model counts itself, as they are now; any thread may ask."""
        return self._metrics.read()

    def close(self) -> None:
        """See `CallEngine`; `finalize` gets 10 s."""
        self._process.close()

    def _settled(self, keys: Sequence[int], reply: Executed | Failed, outputs: Tensors) -> Sequence[Response | None]:
        if isinstance(reply, Failed):
            return [self._calls.settle(key, Response(error=ExecutionError(reply.message))) for key in keys]
        return [
            None if answer is None else self._calls.settle(key, response_of(answer, found))
            for key, answer, found in zip(keys, reply.answers, parted(outputs, len(keys)), strict=True)
        ]

    def _initialize(self, command: Initialize) -> None:
        try:
            reply, _ = self._process.ask(command, Done, OPENING_SECONDS)
            if isinstance(reply, Failed):
                raise ModelLoadError(f"model {self._config.name!r}: {reply.message}")
        except BaseException:
            self._process.close()
            raise

    def _run_once(self, call: Call) -> None:
        answers: SimpleQueue[Response] = SimpleQueue()
        call.respond = answers.put
        response = self.execute([call])[0]
        try:
            while response is None or not (response.final or response.error):
                response = answers.get(timeout=self._patience)
        except Empty:
            remedy = "where it may take longer, raise batchyard.watchdog_ms"
            raise ModelLoadError(f"model_warmup: no final answer within {self._patience:.3g} s; {remedy}") from None
        if response.error is not None:
            raise response.error

    def _hear(self, message: FromModel, tensors: dict[str, Array]) -> None:
        match message:
            case Sent(key, answer):
                self._calls.answer(key, response_of(answer, tensors))
            case Dropped(key):
                self._calls.answer(key, self._dropped())
            case Asked() | AskedReady():
                self._questions.open(message, tensors)
            case GaveUp(key):
                self._questions.give_up(key)
            case IsCancelled(key, request):
                self._process.tell(Verdict(key, self._calls.is_cancelled(request)))
            case Logged(level, text):
                _LOG.log(_LEVELS[level], "%s", text, extra={"model": self._config.name})
            case Measured():
                self._metrics.take(message)

    def _mourn(self, error: EngineLostError) -> None:
        self._questions.close()
        self._calls.end(Response(error=error))

    def _dropped(self) -> Response:
        """The answer to a request that the model let go of: a decoupled one need not say that it is done."""
        if self._config.decoupled:
            return Response()
        return Response(error=ExecutionError("the model returned no response to this request, and sent none"))
