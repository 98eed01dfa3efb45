"""The plain ASGI endpoint of the hot paths: no request object, no dependency injection, no pydantic."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from service.api.callers import tenant_of
from service.api.errors import Shape, error_reply
from service.api.event_stream import EventStream
from service.api.explain import explain_refusal
from service.api.headers import RequestHeaders, RequestIds
from service.api.hints import wants_explanation
from service.api.reply import Reply, send_reply
from service.errors import BatchyardError, CallerGoneError, ModelUnavailableError
from service.types import ANYONE, Tenant


@dataclass(slots=True)
class Call:
    """One HTTP call: the path's parameters, the headers, the rest of the body to receive, and who calls."""

    path: Mapping[str, str]
    headers: RequestHeaders
    receive: Receive
    tenant: Tenant = ANYONE


AnswerCall = Callable[[Call], Awaitable[Reply | EventStream]]
"""Answers a call, or raises."""


class HotEndpoint:
    """Answers calls by `answer`; every error becomes an answer in `shape`, or the last event of a stream that has
    started: here and not in middleware."""

    def __init__(self, answer: AnswerCall, shape: Shape, request_id: RequestIds) -> None:
        self._answer = answer
        self._shape = shape
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: RequestHeaders = dict(scope["headers"])
        request_id = self._request_id(headers)
        stream: EventStream | None = None
        try:
            reply = await self._answer(Call(scope["path_params"], headers, receive, tenant_of(scope)))
            if not isinstance(reply, Reply):
                stream = reply
                await stream.send(send, request_id)
                return
        except CallerGoneError:
            return
        except BatchyardError as error:
            reply = error_reply(error, self._shape, request_id)
            if wants_explanation(headers):
                reply.headers.append(explain_refusal(error.routed))
        except CancelledError:  # the server's: it cancels what still runs when its grace is over
            stopping = ModelUnavailableError("the server is stopping and had no time left to answer; ask again")
            reply = error_reply(stopping, self._shape, request_id)
        except Exception as error:
            reply = error_reply(error, self._shape, request_id)
        if stream is not None and stream.started:
            await stream.fail(send, reply.body)
        else:
            await send_reply(send, reply, request_id)
