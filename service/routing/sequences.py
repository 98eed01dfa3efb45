"""Which variant of a route has which sequence: all requests of one go to the model that remembers it."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from weakref import ref

from service.errors import SequenceLostError
from service.routing.policies import Option
from service.routing.served import Served
from service.types import Hints, InferRequest, SequenceStep

MOST = 65_536
"""Sequences of one route that are remembered; the one of which nothing was heard for longest goes first."""


class Held:
    """The sequences of one route, and the open version of a model that each was given to."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: OrderedDict[int | str, tuple[str, ref[Served]]] = OrderedDict()

    def hints(self, request: InferRequest, newest: Callable[[str], Served | None]) -> Hints:
        """A request's hints, with the variant that has the sequence it goes on with; raises `SequenceLostError`."""
        step = request.sequence
        if step is None or step.start or step.id not in self._held or request.hints.variant:
            return request.hints
        model, served = self._held[step.id]
        now = newest(model)
        if now is None or now is not served():
            del self._held[step.id]
            text = f"sequence {step.id!r} of route {request.model!r} is lost: {model!r}, which had it, was unloaded or "
            raise SequenceLostError(f"{text}loaded anew; start it again", "sequence_start")
        return replace(request.hints, variant=model)

    def asks(self, step: SequenceStep | None, option: Option) -> None:
        """A step is sent to this variant."""
        if step is not None:
            self._held[step.id] = (option.variant.model, ref(option.served))
            self._held.move_to_end(step.id)
            if len(self._held) > MOST:
                self._held.popitem(last=False)

    def answered(self, step: SequenceStep | None) -> None:
        """A step was answered: with its last one a sequence is forgotten."""
        if step is not None and step.end:
            self._held.pop(step.id, None)
