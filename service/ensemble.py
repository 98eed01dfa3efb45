"""Ensembles: a model made of steps, each answered by another model or route through its own queue."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import reduce

from engines.model_config import EnsembleStep, ModelConfig
from engines.tensor import Array
from service.errors import EngineFailedError
from service.generating import GenerateRequest, Generation, cannot_generate
from service.responses import OneResponse
from service.types import DIRECT, InferRequest, InferResponse, Job, Prediction, Responses, Routed, Timing

Infer = Callable[[InferRequest], Awaitable[InferResponse]]
Predict = Callable[[str, int, float], Prediction]
"""When a request to a model or route would be answered: by its name, its cost and its deadline."""


class Ensemble:
    """A `service.routing.replica.Replica` that runs `ensemble_scheduling`: Triton user guide, "Ensemble Models"."""

    def __init__(
        self, config: ModelConfig, version: str, infer: Infer, fault_of: Callable[[str], str], predict_of: Predict
    ) -> None:
        self.name = f"{config.name}:{version}"
        self._config = config
        self._version = version
        self._infer = infer
        self._fault_of = fault_of
        self._predict_of = predict_of

    @property
    def fault(self) -> str:
        """Why a step cannot answer; "" if all can."""
        faults = (self._fault_of(step.model_name) for step in self._config.ensemble)
        return next((fault for fault in faults if fault), "")

    def predict(self, cost: int, deadline: float = float("inf")) -> Prediction:
        """See `Replica`: one step after the other, each as if it got what came in."""
        steps = [self._predict_of(step.model_name, cost, deadline) for step in self._config.ensemble]
        return reduce(_in_turn, steps)

    async def infer(self, job: Job) -> InferResponse:
        """Runs the steps in order; each gets the request's deadline and priority."""
        tensors = dict(job.request.inputs)
        timing = Timing()
        routed = DIRECT
        engines: list[str] = []
        tokens = 0
        for step in self._config.ensemble:
            response = await self._infer(self._request(step, job.request, tensors))
            for theirs, ours in step.output_map.items():
                tensors[ours] = _output(response, theirs, step.model_name)
            timing = _add(timing, response.timing)
            routed = _both(routed, response.routed)
            engines.append(response.engine)
            tokens = max(tokens, response.tokens)
        outputs = {spec.name: tensors[spec.name] for spec in self._config.outputs}
        engine = "+".join(engines)
        return InferResponse(self._config.name, self._version, outputs, engine, timing, tokens, routed)

    @staticmethod
    def _request(step: EnsembleStep, request: InferRequest, tensors: dict[str, Array]) -> InferRequest:
        inputs = {theirs: tensors[ours] for theirs, ours in step.input_map.items()}
        version = str(step.model_version) if step.model_version > 0 else ""
        return replace(
            request, model=step.model_name, version=version, inputs=inputs, outputs=tuple(step.output_map), id=""
        )

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        return OneResponse(await self.infer(job))

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what an ensemble does."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """Holds nothing of its own."""


def _output(response: InferResponse, name: str, model: str) -> Array:
    try:
        return response.outputs[name]
    except KeyError:
        raise EngineFailedError(f"step {model!r} gave no output {name!r}; it gave {sorted(response.outputs)}") from None


def _in_turn(first: Prediction, then: Prediction) -> Prediction:
    """Both late at once is rare, so that the sum of both p95 is on the safe side."""
    return Prediction(first.queue + then.queue, first.seconds + then.seconds, first.p95 + then.p95)


def _both(first: Routed, then: Routed) -> Routed:
    """What callers are told of two steps: all of it that is not the business of one route alone."""
    if then is DIRECT:
        return first
    return Routed(
        candidates=first.candidates + then.candidates,
        tries=first.tries + then.tries,
        step_down="+".join(filter(None, (first.step_down, then.step_down))),
        hedged=first.hedged or then.hedged,
    )


def _add(total: Timing, step: Timing) -> Timing:
    return Timing(
        total.queue + step.queue,
        total.compute + step.compute,
        max(total.batch_size, step.batch_size),
        max(total.batch_tokens, step.batch_tokens),
        max(total.batch_slots, step.batch_slots),
        _in_turn(total.predicted, step.predicted),
        total.actual + step.actual,
    )
