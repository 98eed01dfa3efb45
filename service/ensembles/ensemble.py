"""An ensemble as something that answers: `ensemble_scheduling`, Triton user guide, "Ensemble Models"."""

from collections.abc import Sequence
from functools import partial

from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.reshape import inner_config, reshape_of
from service.ensembles.answers import EnsembleResponses, Put
from service.ensembles.door import Door
from service.ensembles.graph import Graph, graph_of, rebatched
from service.ensembles.telling import in_turn, routed_by, slowest, timing_of
from service.ensembles.work import Answered, Work, parameters_of
from service.errors import BatchyardError, ModelUnavailableError
from service.generating import GenerateRequest, Generation, cannot_generate
from service.responses import OneResponse, has_many_answers
from service.types import ANYONE, InferResponse, Job, Offer, Prediction, Responses, Tenant


class Ensemble:
    """A `service.routing.replica.Replica` over the models and routes of its steps."""

    def __init__(self, config: ModelConfig, version: str, door: Door) -> None:
        self.name = f"{config.name}:{version}"
        self._config = inner_config(config)
        self._reshape = reshape_of(config)
        self._version = version
        self._door = door
        self._offers: tuple[Offer | None, ...] = ()
        self._known: Graph | None = None

    @property
    def fault(self) -> str:
        """Why a step cannot answer, or does not fit in; "" if all can and do."""
        for step in self._config.ensemble:
            fault = self._door.fault_of(step.model_name)
            if fault:
                return fault
        try:
            self.graph()
        except ModelLoadError as error:
            return str(error)
        if None not in self._offers:
            return ""
        step = self._config.ensemble[self._offers.index(None)]
        return f"ensemble {self._config.name!r}: model {step.model_name!r} has no version {step.model_version}"

    @property
    def decoupled(self) -> bool:
        """May it give any number of answers? It may if a step may. Raises `ModelLoadError` as `graph`."""
        return self.graph().depth > 0

    def graph(self) -> Graph:
        """The graph of the steps with the models that answer for them now; raises `ModelLoadError` where they do not
        fit together."""
        offer_of = self._door.offer_of
        offers = tuple(offer_of(step.model_name, step.version) for step in self._config.ensemble)
        if self._known is None or offers != self._offers:
            self._known = graph_of(self._config, offers)
            self._offers = offers
        return self._known

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`: the longest way through the steps, each as if it got what came in."""
        ways = {spec.name: Prediction() for spec in self._config.inputs}
        for step in self._config.ensemble:
            before = slowest(ways[tensor] for tensor in step.input_map.values())
            way = in_turn(before, self._door.predict_of(step.model_name, cost, deadline, tenant))
            ways.update(dict.fromkeys(step.output_map.values(), way))
        return slowest(ways[spec.name] for spec in self._config.outputs)

    async def infer(self, job: Job) -> InferResponse:
        """Runs the steps that the wanted outputs need; each gets the request's deadline, priority and parameters."""
        graph = self._graph_now()
        if graph.depth:
            raise has_many_answers(self._config.name)
        found: list[InferResponse] = []

        async def keep(response: InferResponse) -> None:
            found.append(response)

        await self._run(graph, job, keep)
        return found[0]

    async def stream(self, job: Job) -> Responses:
        """See `Replica`. Where a step is decoupled, one answer for each of its answers, in their order."""
        graph = self._graph_now()
        if not graph.depth:
            return OneResponse(await self.infer(job))
        return EnsembleResponses(partial(self._run, graph, job))

    async def _run(self, graph: Graph, job: Job, put: Put) -> None:
        """Puts each answer, in order, and word that it is over where that was not known before; raises
        `BatchyardError`."""
        over = False
        request = job.request
        given = self._reshape.taken(request.inputs) if self._reshape else request.inputs
        inputs = {spec.name: given.get(spec.name) for spec in self._config.inputs}
        wanted = request.outputs or tuple(spec.name for spec in self._config.outputs)
        nodes = graph.nodes if not request.outputs else graph.needed(wanted)

        async def emit(answered: Answered) -> None:
            nonlocal over
            over = answered.final
            await put(self._response(graph, wanted, answered))

        try:
            await Work(graph, nodes, request, self._door, emit).run(inputs)
        except BatchyardError as error:
            error.triton = f"in ensemble '{self._config.name}', {error.triton or error}"
            raise
        if not over:
            await put(InferResponse(self._config.name, self._version, {}))

    def _response(self, graph: Graph, wanted: Sequence[str], answered: Answered) -> InferResponse:
        """What the steps made of the request; an output that a step's model left out is left out."""
        made = {name: answered.tensors[name] for name in wanted}
        outputs = {name: one.array for name, one in made.items() if one.array is not None}
        batches = self._config.max_batch_size > 0
        for name in graph.dims.keys() & outputs.keys():
            outputs[name] = rebatched(outputs[name], graph.dims[name], batches)
        responses = [answered.responses[number] for number in sorted(answered.responses)]
        return InferResponse(
            self._config.name,
            self._version,
            self._reshape.given(outputs) if self._reshape else outputs,
            "+".join(response.engine for response in responses),
            timing_of((one.timing for one in made.values()), responses),
            max((response.tokens for response in responses), default=0),
            routed_by(responses),
            parameters_of(made.values()),
            answered.final,
        )

    def _graph_now(self) -> Graph:
        """The graph as it was when somebody last asked for `fault`, as the router does before each request."""
        try:
            return self._known or self.graph()
        except ModelLoadError as error:
            raise ModelUnavailableError(f"model {self._config.name!r} is unavailable: {error}") from None

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what an ensemble does."""
        raise cannot_generate(self.name)

    async def close(self, grace: float) -> None:
        """Holds nothing of its own."""
