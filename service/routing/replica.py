"""What routing sees of whatever answers: engines of this process, an ensemble, another server."""

from typing import Protocol

from service.generating import GenerateRequest, Generation
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant


class Replica(Protocol):
    """One thing that can answer a checked job."""

    @property
    def name(self) -> str:
        """Model and version, `model:version`."""

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """When a request of so much cost (see `Intake.estimate`), coming now, would be answered; text that is
        generated: would begin. `deadline`: on the gateway's clock; what is due before others overtakes them."""

    @property
    def fault(self) -> str:
        """Why it cannot answer now; "" if it can."""

    async def infer(self, job: Job) -> InferResponse:
        """Raises `service.errors.BatchyardError`."""

    async def stream(self, job: Job) -> Responses:
        """Takes a job that may have any number of answers, or none; raises `service.errors.BatchyardError`, as does
        reading them. Where a model always gives one, it is there when this returns."""

    async def generate(self, request: GenerateRequest) -> Generation:
        """Raises `service.errors.BatchyardError`; so does reading what it returns."""

    async def close(self, grace: float) -> None:
        """Answers what it holds for at most `grace` seconds, then frees all."""
