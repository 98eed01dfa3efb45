"""A generator in a process of its own, for SDKs that hold Python's lock while they compute.

While such an SDK steps, no other thread of its process runs: the gateway would stand still for most of each step. A
crash of the SDK ends that process only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from engines import Backend
from engines.apart_messages import Add, Cancel, Done, Ready, Step, Stepped, WarmUp
from engines.apart_process import open_apart
from engines.apart_watchdog import OPENING_SECONDS, UNMEASURED_SECONDS
from engines.base import EngineOptions
from engines.generation import Feature
from engines.text_generator import GenerationRequest, GeneratorLimits, RequestId, TokenEvent


@dataclass(frozen=True, slots=True)
class Known:
    """What this process knows of the generator in the other one. `vocabulary`: token ids are below it."""

    limits: GeneratorLimits
    features: frozenset[Feature]
    vocabulary: int


Check = Callable[[GenerationRequest, Known], None]
"""`TextGenerator.check`, done here: any thread may call it, also during a step."""


class ApartGenerator:
    """Implements `TextGenerator` over a process that opens `module`'s generator; raises as its `open_generator`.

    `EngineLostError`: the process ended, or was ended since a step took longer than `batchyard.watchdog_ms`.
    """

    def __init__(self, options: EngineOptions, module: str, check: Check) -> None:
        self._patience = options.config.watchdog or UNMEASURED_SECONDS
        self._check = check
        self._ids = count()
        self._process, ready = open_apart(options, "generator", Backend(module), Ready)
        self._known = Known(ready.limits, frozenset(ready.features), ready.vocabulary)
        self.limits = self._known.limits
        self.features = self._known.features

    @property
    def process_id(self) -> int:
        """Of the process that generates."""
        return self._process.id

    def warm_up(self) -> None:
        """See `TextGenerator`."""
        self._process.ask(WarmUp(), Done, OPENING_SECONDS)

    def check(self, request: GenerationRequest) -> None:
        """See `TextGenerator`."""
        self._check(request, self._known)

    def add(self, request: GenerationRequest) -> RequestId:
        """See `TextGenerator`; what goes wrong is raised by the next step, so that it need not be waited for here."""
        request_id = next(self._ids)
        self._process.tell(Add.of(request_id, request))
        return request_id

    def step(self) -> Sequence[TokenEvent]:
        """See `TextGenerator`; waits without Python's lock."""
        stepped, _ = self._process.ask(Step(), Stepped, self._patience)
        return stepped.events

    def cancel(self, request_id: RequestId) -> None:
        """See `TextGenerator`."""
        self._process.tell(Cancel(request_id))

    def close(self) -> None:
        """Hangs up, which ends the process."""
        self._process.close()
