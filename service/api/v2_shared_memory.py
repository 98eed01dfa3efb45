"""Client shared memory, refused by design; see `service.api.grpc.shared_memory`."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response

from service.api.manner import Manner
from service.api.v2_bodies import stamped
from service.errors import NotFoundError, UnsupportedError


class V2SharedMemory:
    """Triton's paths for memory of the caller: there is never any."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner

    def routes(self) -> APIRouter:
        """Those of system and of CUDA memory."""
        router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
        for kind in ("system", "cuda"):
            path = f"/{kind}sharedmemory"
            router.get(f"{path}/status", summary="Shared memory (never any)")(self.status)
            router.get(f"{path}/region/{{region}}/status", summary="Shared memory (never any)")(_region_of(kind))
            router.post(f"{path}/region/{{region}}/register", summary="Not served, by design")(self.register)
            for end in ("unregister", "region/{region}/unregister"):
                router.post(f"{path}/{end}", summary="Forget shared memory (never any)")(self.unregister)
        return router

    async def status(self) -> list[str]:
        """The regions: none."""
        return []

    async def register(self, region: str) -> list[str]:
        """Refused."""
        raise UnsupportedError(
            f"shared memory region {region!r} is refused: callers and this server need not share a machine, and a "
            "caller could point at memory of others; send the tensors themselves, in binary"
        )

    async def unregister(self, response: Response, region: str = "") -> Response:
        """Nothing is there to forget."""
        return stamped(self._manner.done([]), response)


def _region_of(kind: str) -> Callable[[str], Awaitable[list[str]]]:
    async def answer(region: str) -> list[str]:
        """There is none of this name."""
        said = f"Unable to find {kind} shared memory region: '{region}'"
        raise NotFoundError(f"no shared memory region {region!r}: shared memory is not served").as_triton(said)

    return answer
