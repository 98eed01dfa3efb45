"""One answer to be generated, from the queue to its last token."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from engines.generation import Event
from engines.text_generator import ChosenToken, GenerationRequest
from service.generation.answer import AnswerText
from service.types import ANYONE, Tenant


class Receiver(Protocol):
    """Who gets the events of an answer."""

    def started(self, now: float) -> None: ...

    def charge(self, seconds: float) -> None: ...

    def put(self, events: list[Event], tokens: int, cached_tokens: int, now: float) -> None: ...

    def finished(self) -> None: ...

    def fail(self, error: Exception) -> None: ...


@dataclass(slots=True, eq=False)
class Ticket:
    """An answer that waits or runs. `due`: tickets are taken in this order, seconds on the gateway's clock.

    `generated`: the tokens it has. `suspect`: the engine broke while this one was new to it, and it may be why.
    `tenant`: whose it is.
    """

    receiver: Receiver
    request: GenerationRequest
    text: AnswerText
    due: float
    generated: list[int] = field(default_factory=list)
    taken: float = 0.0
    over: bool = False
    crashes: int = 0
    suspect: bool = False
    tenant: Tenant = ANYONE

    @property
    def reserved(self) -> int:
        """Tokens it may come to fill in the cache."""
        return int(self.request.prompt.size) + self.request.sampling.max_tokens

    @property
    def work(self) -> int:
        """Tokens that a step computes for it: those of its prompt until it has an answer's first, then one."""
        return 1 if self.generated else max(1, self.request.prompt.size)

    @property
    def left(self) -> int:
        """Tokens it may still generate."""
        return self.request.sampling.max_tokens - len(self.generated)

    def push(self, tokens: tuple[ChosenToken, ...]) -> list[Event]:
        """New tokens, as events."""
        self.suspect = False
        self.generated.extend([token.id for token in tokens])
        return self.text.push(tokens)

    def resumed(self) -> GenerationRequest:
        """What an engine must be asked to go on from here: the prompt is longer by what is there already."""
        if not self.generated:
            return self.request
        prompt = np.concatenate([self.request.prompt, np.array(self.generated, np.int64)])
        return replace(self.request, prompt=prompt, sampling=replace(self.request.sampling, max_tokens=self.left))
