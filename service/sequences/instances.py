"""One engine instance, as sequences see it."""

from typing import Protocol

from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant


class Faults(Protocol):
    """`restarts`: how often the engine was lost and opened anew, with all that it remembered."""

    restarts: int


class Instance(Protocol):
    """The replica of one engine instance; see `service.routing.replica.Replica`."""

    @property
    def pending(self) -> int: ...

    @property
    def fault(self) -> str: ...

    @property
    def faults(self) -> Faults: ...

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction: ...

    async def infer(self, job: Job) -> InferResponse: ...

    async def stream(self, job: Job) -> Responses: ...

    async def close(self, grace: float) -> None: ...
