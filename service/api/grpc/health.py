"""gRPC's own health service, grpc.health.v1: the answers to "can this server take calls?" of load balancers.

Its messages have one field each, as have protobuf's own wrappers, which are the same on the wire: a request is a
StringValue, the name of a service; an answer is an Int32Value, the number of a status.
"""

import asyncio
from collections.abc import Callable

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from service.api.grpc.calls import Call
from service.api.grpc.in_hand import InHand
from service.errors import NotFoundError

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_EVERY = 0.5
"""Seconds between looks at what is watched."""


class Health:
    """`services`: names that may be asked about; "" is the whole server. `ready`: of all of them."""

    def __init__(self, services: tuple[str, ...], ready: Callable[[], bool], in_hand: InHand) -> None:
        self._services = services
        self._ready = ready
        self._in_hand = in_hand

    async def check(self, message: StringValue, call: Call) -> Int32Value:
        """The status now; raises `NotFoundError`."""
        if message.value not in self._services:
            known = ", ".join(repr(name) for name in self._services)
            raise NotFoundError(f"there is no service {message.value!r}; known are {known}")
        return Int32Value(value=self._status(message.value))

    async def watch(self, message: StringValue, call: Call) -> None:
        """Writes the status now, and whenever it changes, until the caller leaves or the server stops."""
        told = 0
        while not self._in_hand.closing:
            status = self._status(message.value)
            if status != told:
                await call.write(Int32Value(value=status))
                told = status
            await self._in_hand.idle(asyncio.sleep(_EVERY))

    def _status(self, service: str) -> int:
        if service not in self._services:
            return SERVICE_UNKNOWN
        return SERVING if self._ready() else NOT_SERVING
