"""A stateful model: its sequences over replicas of one engine instance each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from engines.model_config import ModelConfig
from engines.sequence_batching import SequenceBatching
from service.errors import DeadlineExceededError, ModelUnavailableError
from service.generating import GenerateRequest, Generation, cannot_generate
from service.sequences.instances import Instance
from service.sequences.responses import StepResponses
from service.sequences.scheduler import Scheduler
from service.sequences.steps import Step, Steps
from service.sequences.turns import Place, Turn
from service.timers import deadline_timer
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant

Answer = TypeVar("Answer")


class SequenceReplica:
    """Implements `service.routing.replica.Replica`. A request waits for a slot of an instance and for those before it.

    What an instance has taken is finished though its caller leaves: the next request goes on from it. `max_waiting`:
    requests that may wait. Used on the event loop only.
    """

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        batching: SequenceBatching,
        instances: Sequence[Instance],
        max_waiting: int,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.instances = instances
        self._steps = Steps(config, batching)
        slots, max_idle = batching.slots(config.max_batch_size), batching.max_idle_microseconds / 1e6
        self._scheduler = Scheduler(config.name, len(instances), slots, max_idle, max_waiting, self._usable)
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._quiet = asyncio.Event()
        self._running: set[asyncio.Future[Any]] = set()

    def _usable(self, instance: int) -> bool:
        return not self.instances[instance].fault

    @property
    def pending(self) -> int:
        """Requests that wait: for their turn, or for a batch."""
        return self._scheduler.waiting + sum(instance.pending for instance in self.instances)

    @property
    def sequences(self) -> tuple[int, int]:
        """Those that have a slot, and those that wait for one."""
        return self._scheduler.sequences

    @property
    def fault(self) -> str:
        """Why no instance can answer; "" if one can."""
        if self._closing:
            return "it is being unloaded"
        faults = [instance.fault for instance in self.instances]
        return faults[0] if all(faults) else ""

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`: of a request whose turn it is, in the best instance."""
        predictions = (one.predict(cost, deadline, tenant) for one in self.instances)
        return min(predictions, key=lambda prediction: prediction.p95)

    async def infer(self, job: Job) -> InferResponse:
        """See `Replica`."""
        return await self._in_turn(job, self._infer)

    async def stream(self, job: Job) -> Responses:
        """See `Replica`. The next request of the sequence runs once the last answer was read, or this is closed."""
        return await self._in_turn(job, self._stream)

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these engines do."""
        raise cannot_generate(self.name)

    async def _in_turn(self, job: Job, run: Callable[[Step, Job], Awaitable[Answer]]) -> Answer:
        """Runs a request when its turn comes, to its end, though the caller may leave."""
        step = await self._its_turn(job)
        task = asyncio.ensure_future(run(step, job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_drop)
            raise
        finally:
            del task  # an error that it holds leads back to here

    async def _its_turn(self, job: Job) -> Step:
        if self._closing:
            raise ModelUnavailableError(f"model {self.name} cannot answer: {self.fault}")
        future: asyncio.Future[Place] = self._loop.create_future()
        turn = Turn(self._steps.check(job), future, job.request.hints.tenant.name)
        sequence = self._scheduler.enter(turn)
        start = self._clock()
        left = job.request.deadline - start
        timer = deadline_timer(self._loop, left, _too_late, turn, left)
        try:
            place = await future
        except BaseException:
            self._scheduler.lost(sequence, turn, self._clock())
            self._look()
            del turn, future  # an error that they hold leads back to here
            raise
        finally:
            timer.cancel()
        return Step(sequence, turn, place, self.instances[place.instance], self._clock() - start)

    async def _infer(self, step: Step, job: Job) -> InferResponse:
        try:
            response = await step.instance.infer(self._steps.prepare(step, job))
            self._steps.take(step, response)
        except BaseException as error:
            self._end(step, error)
            raise
        self._end(step, None)
        return response

    async def _stream(self, step: Step, job: Job) -> Responses:
        try:
            responses = await step.instance.stream(self._steps.prepare(step, job))
        except BaseException as error:
            self._end(step, error)
            raise
        return StepResponses(responses, partial(self._steps.take, step), partial(self._end, step))

    def _end(self, step: Step, error: BaseException | None) -> None:
        """A step is over: the next of its sequence may run."""
        self._steps.end(self._scheduler, step, error, self._clock())
        self._look()

    def _look(self) -> None:
        """Sees to it that sequences that are idle will be ended, and that who closes hears when nothing is left."""
        now = self._clock()
        if self._closing:
            self._scheduler.expire(now)
            if self._scheduler.quiet:
                self._quiet.set()
        elif self._timer is None and (when := self._scheduler.expires) is not None:
            self._timer = self._loop.call_later(max(0.0, when - now), self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._scheduler.expire(self._clock())
        self._look()

    async def close(self, grace: float) -> None:
        """Refuses new work, answers what waits for at most `grace` seconds, fails the rest, frees the engines."""
        ends = self._clock() + grace
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._scheduler.hurry()
        self._look()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace)
        message = f"model {self.name} was unloaded before the answer was there"
        self._scheduler.give_up(partial(ModelUnavailableError, message))
        left = max(0.0, ends - self._clock())
        await asyncio.gather(*(instance.close(left) for instance in self.instances))


def _too_late(turn: Turn, seconds: float) -> None:
    text = f"the deadline of {1000 * seconds:.0f} ms passed before the sequence had a slot, or its turn came"
    said = "timeout of the corresponding sequence has been expired"
    turn.fail(DeadlineExceededError(text).as_triton(said))


def _drop(task: "asyncio.Future[Any]") -> None:
    """Takes what nobody waits for any more."""
    if not task.cancelled() and task.exception() is None and isinstance(responses := task.result(), StepResponses):
        responses.close()
