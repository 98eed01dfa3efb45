"""One request on its way through an ensemble's graph: a step starts as soon as its inputs are there."""

from asyncio import Event, Semaphore, TaskGroup
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from engines.calls import Parameter
from engines.tensor import Array
from service.ensembles.door import Door
from service.ensembles.graph import Graph, Node, rebatched
from service.ensembles.telling import added, longest
from service.types import InferRequest, InferResponse, SequenceStep, Timing

AHEAD = 32
"""Answers of one decoupled step that are being worked on at once; more of them are not read meanwhile."""

_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(slots=True, eq=False)
class Made:
    """A tensor of the ensemble, None where an optional input or a model's output is left out.

    `timing`: what it took, None for inputs of the ensemble. `sequence`: where what takes it stands in a sequence, as
    the step was asked that made it, or as its model said in its answer.
    """

    array: Array | None
    timing: Timing | None = None
    sequence: SequenceStep | None = None


@dataclass(slots=True, eq=False)
class Answered:
    """What the steps of one way through the graph gave. `responses`: by the number of the step. `final`: it is already
    known that nothing follows."""

    tensors: dict[str, Made]
    responses: dict[int, InferResponse]
    final: bool = True


Emit = Callable[[Answered], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Turn:
    """Whose turn it is to emit. `before`: what comes before has emitted all. `done`: this has. `follows`: may something
    else still follow?"""

    before: Event
    done: Event
    follows: Callable[[], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A request and the `nodes` of the graph that it needs. `emit`: takes each answer, in order."""

    graph: Graph
    nodes: Collection[Node]
    request: InferRequest
    door: Door
    emit: Emit

    async def run(self, inputs: Mapping[str, Array | None]) -> None:
        """Emits all answers. Raises `BatchyardError`: the first error, which ends all other steps."""
        turn = _Turn(Event(), Event(), lambda: False)
        turn.before.set()
        answered = Answered({name: Made(array) for name, array in inputs.items()}, {})
        try:
            await self._run_level(0, answered, turn)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _run_level(self, level: int, answered: Answered, turn: _Turn) -> None:
        """Runs the steps of a level. What they give is emitted, or flows on, when it is its `turn`."""
        await _Level(self, level, answered, turn).run()
        await turn.before.wait()
        if level == self.graph.depth:
            answered.final = not turn.follows()
            await self.emit(answered)
        turn.done.set()

    async def pour(self, node: Node, before: Answered, turn: _Turn) -> None:
        """Has a decoupled step answered; runs the next level for each of its answers."""
        request = self.request_of(node, before.tensors)
        responses = await self.door.stream(request)
        poured = _Poured(turn.follows, turn.before)
        room = Semaphore(AHEAD)
        try:
            async with TaskGroup() as group:
                while (response := await responses.read()) is not None:
                    poured.over = response.final
                    if response.outputs:
                        await room.acquire()
                        answered = Answered(dict(before.tensors), dict(before.responses))
                        note(node, response, request.sequence, answered)
                        group.create_task(self._flow_on(node.level + 1, answered, poured.next_turn(), room))
                    if response.final:
                        break
        finally:
            responses.close()

    async def _flow_on(self, level: int, answered: Answered, turn: _Turn, room: Semaphore) -> None:
        await self._run_level(level, answered, turn)
        room.release()

    def request_of(self, node: Node, tensors: Mapping[str, Made]) -> InferRequest:
        """What a step's model is asked; inputs that were left out are left out of it."""
        inputs = {}
        sequence = self.request.sequence
        for theirs, ours in node.step.input_map.items():
            made = tensors[ours]
            if made.array is not None:
                turned = theirs in node.dims
                inputs[theirs] = rebatched(made.array, node.dims[theirs], node.batched) if turned else made.array
            if made.timing is not None:
                sequence = made.sequence
        hints = self.request.hints
        return replace(
            self.request,
            model=node.step.model_name,
            version=node.step.version,
            inputs=inputs,
            outputs=tuple(node.step.output_map),
            hints=replace(hints, variant="") if hints.variant else hints,
            sequence=sequence,
        )


class _Poured:
    """The turns of the answers of a decoupled step. `over`: there are no more of them."""

    def __init__(self, follows: Callable[[], bool], before: Event) -> None:
        self.over = False
        self._follows = follows
        self._newest = before

    def next_turn(self) -> _Turn:
        before, done = self._newest, Event()
        self._newest = done
        return _Turn(before, done, lambda: self._follows() or not self.over or self._newest is not done)


class _Level:
    """One run of the steps of one level; those that wait for nothing of each other run at once."""

    def __init__(self, work: Work, level: int, answered: Answered, turn: _Turn) -> None:
        self._work = work
        self._answered = answered
        self._turn = turn
        known = answered.tensors.keys()
        self._missing = {node: len(node.sources - known) for node in work.nodes if node.level == level}

    async def run(self) -> None:
        ready = [node for node, left in self._missing.items() if not left]
        while len(ready) == 1:
            ready = await self._ask(ready[0])
        if ready:
            async with TaskGroup() as group:
                await self._go_on(group, ready)

    async def _go_on(self, group: TaskGroup, ready: list[Node]) -> None:
        """Runs what is ready, and what becomes ready by that: the first of it in this task, the others in their own."""
        while ready:
            node, *others = ready
            for other in others:
                group.create_task(self._go_on(group, [other]))
            ready = await self._ask(node)

    async def _ask(self, node: Node) -> list[Node]:
        """Has a step answered; returns the steps that only waited for that."""
        if node.decoupled:
            await self._work.pour(node, self._answered, self._turn)
            return []
        request = self._work.request_of(node, self._answered.tensors)
        response = await self._work.door.infer(request)
        note(node, response, request.sequence, self._answered)
        ready = []
        for tensor in node.step.output_map.values():
            for taker in self._work.graph.takers[tensor]:
                if taker in self._missing:
                    self._missing[taker] -= 1
                    if not self._missing[taker]:
                        ready.append(taker)
        return ready


def note(node: Node, response: InferResponse, sequence: SequenceStep | None, answered: Answered) -> None:
    """Puts what a step gave to the other tensors. `sequence`: where it was asked in one."""
    before = longest(answered.tensors[tensor].timing for tensor in node.sources)
    timing = added(before, response.timing)
    sequence = _sequence(response.parameters, sequence) if response.parameters else sequence
    for theirs, ours in node.step.output_map.items():
        answered.tensors[ours] = Made(response.outputs.get(theirs), timing, sequence)
    answered.responses[node.number] = response


def _sequence(parameters: Mapping[str, Parameter], asked: SequenceStep | None) -> SequenceStep | None:
    if parameters.keys().isdisjoint(_SEQUENCE):
        return asked
    found = parameters.get("sequence_id", asked.id if asked else 0)
    if not found or not isinstance(found, int | str):
        return None
    return SequenceStep(found, bool(parameters.get("sequence_start")), bool(parameters.get("sequence_end")))


def parameters_of(made: Iterable[Made]) -> Mapping[str, Parameter]:
    """Where an answer with these tensors stands in a sequence, if in any."""
    found = next((one.sequence for one in made if one.sequence), None)
    return dict(zip(_SEQUENCE, (found.id, found.start, found.end), strict=True)) if found else {}


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that came first; those behind it came of ending the other steps."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
