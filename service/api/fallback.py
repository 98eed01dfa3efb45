"""Errors outside the hot endpoints, in the shapes their callers expect."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api.errors import (
    Words,
    error_reply,
    is_openai,
    method_not_allowed,
    openai_shape,
    unknown_path,
    v2_shape,
)
from service.api.headers import RequestHeaders
from service.api.reply import NO_SNIFFING
from service.errors import BatchyardError, InvalidRequestError


class Fallback:
    """FastAPI's exception handlers."""

    def __init__(self, request_id: Callable[[RequestHeaders], bytes], words: Words) -> None:
        self._request_id = request_id
        self._openai = openai_shape()
        self._v2 = v2_shape(words)

    def install(self, app: FastAPI) -> None:
        """Takes over every error that FastAPI would answer in its own shape."""
        for kind in (HTTPException, RequestValidationError, BatchyardError, Exception):
            app.add_exception_handler(kind, self.answer)

    async def answer(self, request: Request, error: Exception) -> Response:
        """The answer for any error."""
        request_id = self._request_id(dict(request.scope["headers"]))
        translated = _translate(request, error)
        shape = self._openai if is_openai(request.url.path) else self._v2
        reply = error_reply(translated, shape, request_id)
        response = Response(reply.body, reply.status)
        response.raw_headers += [*reply.headers, (b"x-request-id", request_id), NO_SNIFFING]
        return response


def _translate(request: Request, error: Exception) -> Exception:
    path = request.url.path
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return InvalidRequestError(f"{where}: {first['msg']}")
    if not isinstance(error, HTTPException):
        return error
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return unknown_path(path)
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return method_not_allowed(path, request.method, (error.headers or {}).get("Allow", ""))
        case _:
            return InvalidRequestError(str(error.detail))
