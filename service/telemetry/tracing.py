"""Traces of sampled requests: Triton's trace extension."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from service.errors import InvalidRequestError
from service.telemetry.trace_file import Trace, TraceFile
from service.telemetry.trace_sampling import Sampling
from service.telemetry.trace_settings import OFF, TraceSettings
from service.telemetry.trace_stamps import trace_of, without_compute
from service.telemetry.traced_responses import TracedResponses
from service.types import InferRequest, InferResponse, Responses

T = TypeVar("T")
Clock = Callable[[], float]
Infer = Callable[[InferRequest], Awaitable[InferResponse]]
Stream = Callable[[InferRequest], Awaitable[Responses]]


@dataclass(frozen=True, slots=True)
class _Scope:
    """The request on whose behalf others are made: its trace's id, 0 where it is not traced, and what is traced of
    it."""

    id: int = 0
    traces: list[Trace] = field(default_factory=list)


class Tracing:
    """Used on the event loop. `file`: where traces are written, "" nowhere: then tracing cannot be switched on.

    `on`: is there anything to trace? Callers ask it before anything else.
    """

    def __init__(self, file: str = "") -> None:
        self.on = False
        self._name = file
        self._file = TraceFile(Path(file or "trace"))
        self._start = TraceSettings()
        self._samplings: dict[str, Sampling] = {"": Sampling(self._start, self._file, self._start.count)}
        self._ids = count(1)
        self._scope: ContextVar[_Scope | None] = ContextVar("trace", default=None)

    def get(self, model: str = "") -> Mapping[str, Sequence[str]]:
        """All settings, in Triton's order: the server's, or those that count for a model."""
        sampling = self._sampling(model)
        return sampling.settings.told(self._name, sampling.left)

    def update(self, model: str, changes: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Changes all that are named, or none, of a model or of the server (""); gives all. An empty value clears one:
        a model then takes the server's, the server what it was started with. Raises `InvalidRequestError`."""
        old = {name: sampling.settings for name, sampling in self._samplings.items()}
        general = old[""] if model else old[""].changed(changes, self._start)
        new = {name: settings.changed({}, general) for name, settings in old.items() if name} | {"": general}
        if model:
            new[model] = old.get(model, TraceSettings()).changed(changes, general)
        self._check(new[model])
        for name in set(new) if not model else {model}:
            self._replace(name, new[name])
        self.on = any(sampling.settings.level != OFF for sampling in self._samplings.values())
        return self.get(model)

    def _check(self, settings: TraceSettings) -> None:
        if settings.level == OFF:
            return
        if not self._name:
            said = "Attempting to set invalid trace setting :trace file name is not given"
            text = "this server has no file for traces; start it with --trace-file FILE, or trace_file in gateway.toml"
            raise InvalidRequestError(text, "trace_level").as_triton(said)
        if settings.rate == 0:
            said = "Attempting to set invalid trace setting :sample rate must be non-zero"
            raise InvalidRequestError("trace_rate is 0; it must be 1 or more", "trace_rate").as_triton(said)

    def _replace(self, name: str, settings: TraceSettings) -> None:
        old = self._samplings.pop(name, None)
        if old is not None:
            old.over = True
            old.flush()
        if settings.named or not name:
            self._samplings[name] = Sampling(settings, self._file, settings.count)

    def _sampling(self, model: str) -> Sampling:
        return self._samplings.get(model) or self._samplings[""]

    async def infer(self, request: InferRequest, infer: Infer, clock: Clock) -> InferResponse:
        """Has a request answered by `infer`, and traces it where it is sampled, with the steps of an ensemble."""
        above = self._scope.get()
        if above is not None:
            return await (self._traced(request, infer, clock, above) if above.id else infer(request))
        sampling = self._sampling(request.model)
        if not sampling.hit():
            return await self._untraced(request, infer)
        root = _Scope()
        try:
            return await self._traced(request, infer, clock, root)
        finally:
            sampling.collect(root.traces)

    async def stream(self, request: InferRequest, stream: Stream, clock: Clock) -> Responses:
        """The same for a request with any number of answers, without the steps of an ensemble."""
        sampling = self._sampling(request.model)
        if self._scope.get() is not None or not sampling.hit():
            return await self._untraced(request, stream)
        start = clock()

        def ended(response: InferResponse | None) -> None:
            sampling.collect([trace_of(next(self._ids), 0, request, response, start, clock())])

        try:
            return TracedResponses(await self._untraced(request, stream), ended)
        except BaseException:
            ended(None)
            raise

    async def _untraced(self, request: InferRequest, ask: Callable[[InferRequest], Awaitable[T]]) -> T:
        token = self._scope.set(_Scope())
        try:
            return await ask(request)
        finally:
            self._scope.reset(token)

    async def _traced(self, request: InferRequest, infer: Infer, clock: Clock, above: _Scope) -> InferResponse:
        scope = _Scope(next(self._ids), above.traces)
        token = self._scope.set(scope)
        start, response, others = clock(), None, len(scope.traces)
        try:
            response = await infer(request)
            return response
        finally:
            self._scope.reset(token)
            trace = trace_of(scope.id, above.id, request, response, start, clock())
            scope.traces.append(trace if len(scope.traces) == others else without_compute(trace))

    def close(self, seconds: float) -> None:
        """Writes what is left, within so many seconds. Blocks."""
        for sampling in self._samplings.values():
            sampling.over = True
            sampling.flush()
        self._file.close(seconds)
