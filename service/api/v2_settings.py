"""Triton's trace and logging extensions."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request

from service.api.known import check_traced
from service.api.limits import Limits
from service.api.operations import Operations
from service.api.v2_bodies import read_json
from service.errors import InvalidRequestError
from service.gateway import Gateway

_TRACE_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "trace_level": {"type": ["array", "null"], "items": {"enum": ["OFF", "TIMESTAMPS"]}},
            "trace_rate": {"type": ["string", "null"], "description": "One of so many requests is traced."},
            "trace_count": {"type": ["string", "null"], "description": "So many more are traced; -1: no bound."},
            "log_frequency": {"type": ["string", "null"], "description": "Traces of one numbered file; 0: one file."},
        },
    }
}
_LOG_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "log_info": {"type": "boolean"},
            "log_warning": {"type": "boolean"},
            "log_error": {"type": "boolean"},
            "log_verbose_level": {"type": "integer", "minimum": 0, "description": "1 or more: lines of debug."},
            "log_format": {"enum": ["default", "ISO8601"]},
        },
    }
}

_TraceChanges = dict[str, str | int | list[str] | None]
_LogChanges = dict[str, bool | int | str | None]


class V2Settings:
    """Everybody may look at the settings; they can be changed where callers may change things."""

    def __init__(self, gateway: Gateway, operations: Operations, limits: Limits) -> None:
        self._gateway = gateway
        self._operations = operations
        self._limits = limits

    def routes(self) -> APIRouter:
        """The paths of both extensions."""
        router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])
        trace = {"requestBody": {"content": {"application/json": _TRACE_BODY}}}
        log = {"requestBody": {"content": {"application/json": _LOG_BODY}}}
        for path in ("/trace/setting", "/models/{model}/trace/setting"):
            router.get(path, summary="Trace settings")(self.trace)
            router.post(path, summary="Change trace settings", openapi_extra=trace)(self.change_trace)
        router.get("/logging", summary="Log settings")(self.log)
        router.post("/logging", summary="Change log settings", openapi_extra=log)(self.change_log)
        return router

    async def trace(self, model: str = "") -> dict[str, Any]:
        """What is traced of all requests, or of those to one model."""
        check_traced(self._gateway, model)
        return _told(self._operations.tracing.get(model))

    async def change_trace(self, request: Request, model: str = "") -> dict[str, Any]:
        """Changes what the body names; null clears it: a model takes the server's then."""
        self._operations.control("change trace settings")
        check_traced(self._gateway, model)
        given = await read_json(request, self._limits, _TraceChanges)
        return _told(self._operations.tracing.update(model, _words(given or {})))

    async def log(self) -> dict[str, Any]:
        """Which log lines are shown."""
        return dict(self._operations.logging.get())

    async def change_log(self, request: Request) -> dict[str, Any]:
        """Changes what the body names."""
        self._operations.control("change log settings")
        given = await read_json(request, self._limits, _LogChanges)
        named = {name: value for name, value in (given or {}).items() if value is not None}
        return dict(self._operations.logging.update(named))


def _words(given: _TraceChanges) -> Mapping[str, Sequence[str]]:
    changes: dict[str, Sequence[str]] = {}
    for name, value in given.items():
        if value == []:
            raise InvalidRequestError(f"{name} is an empty list; send null to clear it", name)
        changes[name] = () if value is None else tuple(value) if isinstance(value, list) else (str(value),)
    return changes


def _told(settings: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {name: list(words) if name == "trace_level" else words[0] for name, words in settings.items()}
