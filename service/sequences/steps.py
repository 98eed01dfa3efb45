"""One request of a sequence on its way through an engine instance: what is added, kept, and learned of its end."""

from dataclasses import dataclass, replace

from engines.model_config import ModelConfig
from engines.sequence_batching import SequenceBatching
from service.errors import (
    BatchyardError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    RetryLaterError,
    SequenceLostError,
)
from service.sequences.controls import Controls
from service.sequences.instances import Instance
from service.sequences.scheduler import Scheduler
from service.sequences.states import States
from service.sequences.turns import Place, Sequence, Turn
from service.types import InferResponse, Job, SequenceStep


@dataclass(frozen=True, slots=True)
class Step:
    """A request whose turn it is, and where it runs. `waited`: seconds for its turn, and for a slot."""

    sequence: Sequence
    turn: Turn
    place: Place
    instance: Instance
    waited: float


class Steps:
    """The steps of one model."""

    def __init__(self, config: ModelConfig, batching: SequenceBatching) -> None:
        self._controls = Controls(batching.controls, config.max_batch_size)
        self._states = States(batching.states, config.outputs, config.max_batch_size)

    def check(self, job: Job) -> SequenceStep:
        """Raises `InvalidRequestError`."""
        model = job.request.model
        if job.rows > 1:
            raise InvalidRequestError(
                f"model {model!r} takes sequences, one row a request; found {job.rows} rows: send each row as a "
                "sequence of its own"
            ).as_triton(
                f"inference request to model '{model}' must specify batch-size 1 due to requirements of sequence "
                "batcher"
            )
        return self._controls.check(job.request)

    def prepare(self, step: Step, job: Job) -> Job:
        """The job as the engine gets it: with control tensors and state. Raises `SequenceLostError`."""
        sequence, wanted = step.sequence, step.turn.step
        if wanted.start:
            sequence.state = self._states.first()
        self._check_memory(step)
        (part,) = job.parts
        tensors = {**part, **self._controls.tensors(wanted), **sequence.state}
        request = job.request
        if request.outputs and self._states.names:
            request = replace(request, outputs=(*request.outputs, *self._states.names))
        return replace(job, request=request, parts=(tensors,), slot=step.place.slot)

    def take(self, step: Step, response: InferResponse) -> None:
        """Keeps the state that an answer leaves, and takes it out of the answer. Raises `SequenceLostError`."""
        self._check_memory(step)
        response.timing.queue += step.waited
        step.sequence.state = self._states.after(step.sequence.state, response.outputs)

    def _check_memory(self, step: Step) -> None:
        """Is what the engine itself remembers of the sequence still there?"""
        restarts, sequence = step.instance.faults.restarts, step.sequence
        if step.turn.step.start:
            sequence.restarts = restarts
        elif restarts != sequence.restarts and not self._states.names:
            text = f"sequence {sequence.id!r} is lost: its engine was opened anew; start it again"
            raise SequenceLostError(text, "sequence_start")

    @staticmethod
    def end(scheduler: Scheduler, step: Step, error: BaseException | None, now: float) -> None:
        """Tells the scheduler how a step ended.

        A step that failed in the model was seen by it, and its sequence goes on, as in Triton. One that was refused, or
        that no engine could take, may be sent again: where an engine was lost with what it remembered, the next one is
        told. After anything else nobody knows where the sequence stands.
        """
        if error is None or _goes_on(error):
            scheduler.done(step.sequence, step.turn, now)
        elif isinstance(error, RetryLaterError | ModelUnavailableError):
            scheduler.refused(step.sequence, step.turn, error, now)
        else:
            scheduler.lost(step.sequence, step.turn, now)


def _goes_on(error: BaseException) -> bool:
    """Has the model seen the request, and still knows of its sequence?"""
    if isinstance(error, EngineFailedError | InvalidRequestError):
        return not isinstance(error, SequenceLostError)
    return isinstance(error, BatchyardError) and error.executed
