"""Triton's model repository extension: loading and unloading models."""

import asyncio
import base64
import binascii
from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from service.api.limits import Limits
from service.api.manner import Manner
from service.api.operations import Operations
from service.api.v2_answers import index_answer
from service.api.v2_bodies import read_json, stamped
from service.errors import InvalidRequestError
from service.gateway import Gateway
from service.overrides import NO_OVERRIDES, Overrides

_FILE = "file:"
_LOAD_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "parameters": {
                "type": "object",
                "properties": {
                    "config": {"type": "string", "description": "A model configuration as JSON, for config.pbtxt."}
                },
                "additionalProperties": {
                    "type": "string",
                    "description": "file:1/model.onnx and the like: a file of the model in base64. With any, the "
                    "model's folder is not read, and config must be given.",
                },
            }
        },
    }
}
_UNLOAD_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "parameters": {
                "type": "object",
                "properties": {"unload_dependents": {"type": "boolean", "default": False}},
            }
        },
    }
}


class _Command(Struct, forbid_unknown_fields=True):
    """The body of both paths, which may be left out."""

    parameters: dict[str, msgspec.Raw] = {}


class V2Repository:
    """Both paths answer 403 where callers may not load and unload models."""

    def __init__(self, gateway: Gateway, operations: Operations, limits: Limits, manner: Manner) -> None:
        self._gateway = gateway
        self._operations = operations
        self._limits = limits
        self._manner = manner

    def routes(self) -> APIRouter:
        """The two paths."""
        router = APIRouter(prefix="/v2/repository/models", tags=["Open Inference Protocol v2"])
        load = {"requestBody": {"content": {"application/json": _LOAD_BODY}}}
        unload = {"requestBody": {"content": {"application/json": _UNLOAD_BODY}}}
        router.post("/{model}/load", summary="Load a model, or load it anew", openapi_extra=load)(self.load)
        router.post("/{model}/unload", summary="Unload a model", openapi_extra=unload)(self.unload)
        return router

    async def load(self, request: Request, response: Response, model: str) -> Response:
        """Opens the model as its folder is now, or as the parameters say, then switches to it; what is loaded of it
        serves until then, and goes on where the new one cannot be opened (400)."""
        repository = self._operations.control("load models")
        parameters = await self._parameters(request)
        overrides = await asyncio.to_thread(_overrides, parameters) if parameters else NO_OVERRIDES
        await repository.load(model, overrides)
        return stamped(self._manner.done(index_answer(self._gateway.model(model))), response)

    async def unload(self, request: Request, response: Response, model: str) -> Response:
        """Takes the model out of service; what it has in hand is answered."""
        repository = self._operations.control("unload models")
        await repository.unload(model, _dependents(await self._parameters(request)))
        return stamped(self._manner.done(index_answer(self._gateway.model(model))), response)

    async def _parameters(self, request: Request) -> Mapping[str, msgspec.Raw]:
        command = await read_json(request, self._limits, _Command)
        return command.parameters if command else {}


def _overrides(parameters: Mapping[str, msgspec.Raw]) -> Overrides:
    config: str | None = None
    files: dict[str, bytes] = {}
    for name, value in parameters.items():
        if name == "config":
            config = _text(name, value)
        elif name.startswith(_FILE):
            files[name.removeprefix(_FILE)] = _content(name, _text(name, value))
        else:
            said = "unexpected error on creating Triton parameter"
            raise InvalidRequestError(f"unknown load parameter {name!r}; leave it out", name).as_triton(said)
    return Overrides(config, files)


def _text(name: str, value: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(value, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"load parameter {name!r} is not right: {error}", name) from None


def _content(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(f"load parameter {name!r} is no base64: {error}", name) from None


def _dependents(parameters: Mapping[str, msgspec.Raw]) -> bool:
    wanted = False
    for name, value in parameters.items():
        if name != "unload_dependents":
            raise InvalidRequestError(f"unknown unload parameter {name!r}; leave it out", name)
        if bytes(value) not in (b"true", b"false"):
            found = bytes(value)[:100].decode(errors="replace")
            raise InvalidRequestError(f"{name} is {found}; it must be true or false", name)
        wanted = bytes(value) == b"true"
    return wanted
