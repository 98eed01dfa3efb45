"""JSON bodies of the control plane."""

import asyncio
from functools import partial
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from service.api.body import read_body
from service.api.limits import Limits
from service.errors import InvalidRequestError

T = TypeVar("T")


async def read_json(request: Request, limits: Limits, kind: type[T]) -> T | None:
    """The request's body as a `kind`; None where there is none, whatever its content type: clients send none.

    Raises `InvalidRequestError`, and what `read_body` does.
    """
    body = await read_body(request.receive, dict(request.scope["headers"]), limits)
    if not body:
        return None
    decode = partial(msgspec.json.decode, body, type=kind)
    try:
        found: T = await asyncio.to_thread(decode) if len(body) > limits.thread_above else decode()
        return found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not right: {error}") from None


def stamped(answer: Response, prepared: Response) -> Response:
    """The answer with the headers that every answer has, which FastAPI adds only to what it encodes itself."""
    answer.headers.raw.extend(prepared.headers.raw)
    return answer
