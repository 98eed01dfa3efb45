"""A model of other servers whose requests the gateway batches before it asks them."""

from collections.abc import Sequence

from service.batching.replica import LocalReplica
from service.errors import ModelUnavailableError
from service.generating import GenerateRequest, Generation
from service.remote.endpoint import Endpoint
from service.remote.fleet import Fleet
from service.remote.pool import Pool
from service.remote.words import COMES_BACK
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant


class BatchedReplica:
    """Implements `service.routing.replica.Replica`: a queue with `lanes` that ask the servers of a pool."""

    def __init__(self, lanes: LocalReplica, pool: Pool, fleet: Fleet) -> None:
        self.name = lanes.name
        self.lanes = lanes
        self._pool = pool
        self._fleet = fleet

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`."""
        return self.lanes.predict(cost, deadline, tenant)

    @property
    def fault(self) -> str:
        """See `Replica`."""
        return self._pool.fault or self.lanes.fault

    def endpoints(self) -> Sequence[Endpoint]:
        """Its servers."""
        return list(self._pool.endpoints.values())

    async def infer(self, job: Job) -> InferResponse:
        """See `Replica`."""
        self._check()
        return await self.lanes.infer(job)

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        self._check()
        return await self.lanes.stream(job)

    async def generate(self, request: GenerateRequest) -> Generation:
        """Not what these servers are asked for."""
        return await self.lanes.generate(request)

    def _check(self) -> None:
        """Refuses at once what would only fail after its batch."""
        if self._pool.fault:
            raise ModelUnavailableError(f"model {self.name!r} is unavailable: {self._pool.fault}", COMES_BACK)

    async def close(self, grace: float) -> None:
        """See `Replica`."""
        await self.lanes.close(grace)
        await self._fleet.close(0.0)
