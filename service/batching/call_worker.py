"""Runs one composed batch on an engine that takes requests one by one and answers each when it likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from engines.calls import Call, CallEngine, Response
from engines.errors import EngineError, EngineLostError, ExecutionError
from service.batching.compose import Composition
from service.batching.failures import failure_of
from service.batching.losses import suspect
from service.batching.open_calls import BatchSize, OpenCall, OpenCalls, lost_amid
from service.batching.outputs import OutputCheck
from service.batching.ticket import Answer
from service.batching.worker import Clock, Executed, Result, give_back
from service.errors import EngineFailedError
from service.types import InferRequest, Timing

_NO_REQUEST = InferRequest("", {})


@dataclass(frozen=True, slots=True)
class CallWorker:
    """One engine; used by the one thread that owns it, `respond` by any.

    An error belongs to the call that it names, so that no batch is run again in halves: a model may count its runs.
    """

    engine: CallEngine
    check: OutputCheck
    calls: OpenCalls
    clock: Clock

    def execute(self, batch: Composition) -> Executed:
        """Has the engine look at a batch; what it answers later comes by the calls' `respond`."""
        executed = Executed(batch)
        start = self.clock()
        alone = len(batch.tickets) == 1 and not self.calls.of(self.engine)
        size = BatchSize(len(batch.tickets), batch.tokens, batch.layout.slots)
        opened = [self.calls.begin(ticket, self.engine, start, size) for ticket in batch.tickets]
        calls = [self._call(call) for call in opened]
        executed.input_seconds = self.clock() - start
        for opened_call in opened:
            opened_call.input = executed.input_seconds
        try:
            returned = self._returned(calls)
        except EngineLostError as error:
            executed.failed, executed.lost = True, error
            self._lost(opened, executed, error, alone=alone)
        except EngineError as error:
            executed.failed = True
            executed.results += [(call.ticket, failure_of(error)) for call in opened if self.calls.end(call)]
        else:
            self._take(opened, returned, executed)
        executed.seconds = self.clock() - start
        return executed

    def _returned(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        try:
            returned = self.engine.execute(calls)
        except EngineError:
            raise
        except Exception as error:
            raise ExecutionError(f"{type(error).__name__}: {error}") from error
        if len(returned) != len(calls):
            raise ExecutionError(f"the engine returned {len(returned)} answers to {len(calls)} requests")
        return returned

    def _call(self, opened: OpenCall) -> Call:
        ticket = opened.ticket
        request = ticket.waiting.request or _NO_REQUEST
        step = request.sequence
        return Call(
            ticket.tensors,
            partial(self.respond, opened),
            lambda: ticket.gone,
            request.outputs,
            request.id,
            request.parameters,
            step.id if step else 0,
            step.start if step else False,
            step.end if step else False,
            request.timeout,
        )

    def respond(self, call: OpenCall, response: Response) -> None:
        """Takes an answer that `execute` did not return."""
        if isinstance(response.error, EngineLostError):
            self.calls.lost(self.engine, response.error)
            return
        several = call.several
        result = self._result(call, response)
        if response.final and not several and not response.outputs and response.error is None:
            result = EngineFailedError("the model ended this request without an answer", retryable=False)
        final = response.final or not several or response.error is not None
        self.calls.answer(call, result, final=final)

    def _take(self, opened: Sequence[OpenCall], returned: Sequence[Response | None], executed: Executed) -> None:
        computed = self.clock()
        for call, response in zip(opened, returned, strict=True):
            if response is None:
                self.calls.left(call)
            elif self.calls.end(call):
                executed.results.append((call.ticket, self._result(call, response)))
        now = self.clock()
        executed.output_seconds = now - computed
        for _, result in executed.results:
            if isinstance(result, Answer):
                result.timing.compute, result.timing.output = now - opened[0].start, executed.output_seconds

    def _result(self, call: OpenCall, response: Response) -> Result:
        if response.error is not None:
            return failure_of(response.error)
        try:
            self.check.call(response.outputs)
        except EngineError as error:
            return failure_of(error)
        now = self.clock()
        timing = Timing(call.start - call.ticket.arrival, now - call.start, *call.batch, input=call.input)
        timing.engine_seconds = call.bill(now)
        return Answer(dict(response.outputs), timing, response.parameters, response.final or not call.several)

    def _lost(self, opened: Sequence[OpenCall], executed: Executed, error: EngineLostError, *, alone: bool) -> None:
        left = []
        for call in opened:
            if not self.calls.end(call):
                continue
            if call.answers:
                executed.results.append((call.ticket, lost_amid(error)))
            else:
                left.append(call.ticket)
        if not error.idle:
            suspect(left, alone=alone)
        give_back(executed, error, left)
