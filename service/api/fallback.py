"""Errors outside the hot endpoints, in the shapes their callers expect."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api.errors import MethodNotAllowedError, UnknownPathError, error_reply, shape_of
from service.api.headers import RequestHeaders
from service.errors import BatchyardError, InvalidRequestError


class Fallback:
    """FastAPI's exception handlers."""

    def __init__(self, request_id: Callable[[RequestHeaders], bytes]) -> None:
        self._request_id = request_id

    def install(self, app: FastAPI) -> None:
        """Takes over every error that FastAPI would answer in its own shape."""
        for kind in (HTTPException, RequestValidationError, BatchyardError, Exception):
            app.add_exception_handler(kind, self.answer)

    async def answer(self, request: Request, error: Exception) -> Response:
        """The answer for any error."""
        request_id = self._request_id(dict(request.scope["headers"]))
        translated = _translate(request, error)
        reply = error_reply(translated, shape_of(request.url.path), request_id)
        response = Response(reply.body, reply.status)
        response.raw_headers += [*reply.headers, (b"x-request-id", request_id)]
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
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
            return UnknownPathError(f"no such path: {path}; the paths are listed at /docs")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "another method")
            return MethodNotAllowedError(f"{path} does not answer {request.method}; use {allowed}")
        case _:
            return InvalidRequestError(str(error.detail))
