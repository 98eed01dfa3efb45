"""Client shared memory, refused by design: caller and server need not share a machine, and a caller that names memory
of the server's machine would read and write it."""

from typing import NoReturn

from tritonclient.grpc.service_pb2 import (
    CudaSharedMemoryStatusRequest,
    CudaSharedMemoryStatusResponse,
    CudaSharedMemoryUnregisterRequest,
    CudaSharedMemoryUnregisterResponse,
    SystemSharedMemoryStatusRequest,
    SystemSharedMemoryStatusResponse,
    SystemSharedMemoryUnregisterRequest,
    SystemSharedMemoryUnregisterResponse,
)

from service.api.grpc.calls import Call
from service.errors import NotFoundError, UnsupportedError


async def system_status(message: SystemSharedMemoryStatusRequest, call: Call) -> SystemSharedMemoryStatusResponse:
    """No region is ever registered."""
    _check_known("system", message.name)
    return SystemSharedMemoryStatusResponse()


async def cuda_status(message: CudaSharedMemoryStatusRequest, call: Call) -> CudaSharedMemoryStatusResponse:
    """No region is ever registered."""
    _check_known("cuda", message.name)
    return CudaSharedMemoryStatusResponse()


async def system_unregister(
    message: SystemSharedMemoryUnregisterRequest, call: Call
) -> SystemSharedMemoryUnregisterResponse:
    """Nothing to do, as Triton answers for a name that it does not know."""
    return SystemSharedMemoryUnregisterResponse()


async def cuda_unregister(message: CudaSharedMemoryUnregisterRequest, call: Call) -> CudaSharedMemoryUnregisterResponse:
    """Nothing to do, as Triton answers for a name that it does not know."""
    return CudaSharedMemoryUnregisterResponse()


async def refuse(message: object, call: Call) -> NoReturn:
    """Raises `UnsupportedError`."""
    raise UnsupportedError(
        "shared memory is not served, by design: callers and server need not share a machine, and callers would name "
        "memory of the server's; send tensors in raw_input_contents"
    )


def _check_known(kind: str, name: str) -> None:
    if name:
        raise NotFoundError(f"no shared memory region {name!r} is registered; none ever is").as_triton(
            f"Unable to find {kind} shared memory region: '{name}'"
        )
