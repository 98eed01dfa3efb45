"""One gRPC call of any method: what it brings, how its errors are told, and how it ends when the server stops."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import aio

from service.access.accounts import Accounts
from service.api.errors import GrpcFault, Words, grpc_fault
from service.api.explain import explain_refusal
from service.api.grpc.in_hand import InHand, this_task
from service.api.headers import RequestHeaders, RequestIds
from service.api.hints import wants_explanation
from service.api.quota_headers import quota_headers
from service.api.reply import Header
from service.api.scopes import Needed
from service.errors import BatchyardError, ModelUnavailableError
from service.types import ANYONE, Tenant

Context = aio.ServicerContext[Any, Any]
Result = TypeVar("Result")


@dataclass(slots=True)
class Call:
    """`headers`: the caller's metadata. `arrived`: on the gateway's clock. `tenant`: who calls. `trailing`: goes home
    behind the answer."""

    context: Context
    headers: RequestHeaders
    request_id: bytes
    arrived: float
    tenant: Tenant = ANYONE
    trailing: list[Header] = field(default_factory=list)

    async def write(self, message: Message) -> None:
        """Sends an answer of a stream; a caller that has left cancels the task, as gRPC does a moment later."""
        try:
            await self.context.write(message.SerializeToString())
        except aio.BaseError:
            raise CancelledError("the caller left before the answer") from None


class Reception:
    """Runs calls; every error becomes a status here. `clock`: the gateway's. `words`: the message of an error.
    `accounts`: None lets anybody in."""

    def __init__(
        self,
        clock: Callable[[], float],
        request_id: RequestIds,
        words: Words,
        in_hand: InHand,
        accounts: Accounts | None = None,
    ) -> None:
        self._clock = clock
        self._request_id = request_id
        self._words = words
        self._in_hand = in_hand
        self._accounts = accounts

    async def run(self, context: Context, needed: Needed, work: Callable[[Call], Awaitable[Result]]) -> Result | None:
        """What `work` gives; where it raises, None, and the call ends with the status of that. `needed`: what the
        key of the caller must open."""
        headers = _headers(context)
        call = Call(context, headers, self._request_id(headers), self._clock())
        task, in_hand = this_task(), self._in_hand
        in_hand.tasks.add(task)
        try:
            in_hand.check_open()
            self._identify(call, needed)
            result = await work(call)
            call.trailing += self._quota(call)
            context.set_trailing_metadata(_metadata(call, call.trailing))
            return result
        except CancelledError:
            if not in_hand.over:
                raise
            text = "the server is stopping and had no time left to answer; ask again"
            self._fail(call, ModelUnavailableError(text))
        except Exception as error:
            self._fail(call, error)
        finally:
            in_hand.tasks.discard(task)
        return None

    def _identify(self, call: Call, needed: Needed) -> None:
        """Finds out who calls; raises `UnauthenticatedError`, `NotAllowedError`."""
        if self._accounts is None or needed == "public":
            return
        account = self._accounts.caller(call.headers)
        if needed != "key":
            account.check_scope(needed)
        call.tenant = account.tenant

    def _quota(self, call: Call) -> list[Header]:
        """What the tenant may still use; nothing where nobody is told apart."""
        account = self._accounts.named(call.tenant.name) if self._accounts else None
        return quota_headers(account.ledger.rooms()) if account else []

    def fault(self, call: Call, error: Exception) -> GrpcFault:
        """How `error` is told."""
        return grpc_fault(error, self._words, call.request_id)

    def _fail(self, call: Call, error: Exception) -> None:
        """`ServicerContext.abort` would tell it by an exception that refers to itself: of thousands a second the
        garbage collector would stop the world."""
        fault = self.fault(call, error)
        trailing = fault.trailing + self._quota(call)
        if isinstance(error, BatchyardError) and wants_explanation(call.headers):
            trailing.append(explain_refusal(error.routed))
        call.context.set_code(grpc.StatusCode[fault.status])
        call.context.set_details(fault.message)
        call.context.set_trailing_metadata(_metadata(call, trailing))


def _headers(context: Context) -> RequestHeaders:
    """The caller's metadata, whose names gRPC has in lower case."""
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
    }


def _metadata(call: Call, headers: Iterable[Header]) -> tuple[tuple[str, bytes], ...]:
    found = [(name.decode(), value if value.isascii() else _escaped(value)) for name, value in headers]
    found.append(("x-request-id", call.request_id))
    return tuple(found)


def _escaped(value: bytes) -> bytes:
    """gRPC takes ASCII only, else it gives up the whole answer; names of models may hold more."""
    return value.decode().encode("ascii", "backslashreplace")
