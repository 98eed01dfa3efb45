"""Triton's model repository extension: loading and unloading models."""

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Request
from msgspec import Struct

from service.api.body import read_body
from service.api.limits import Limits
from service.api.operations import Repository
from service.api.v2_answers import IndexEntry, index_entries
from service.errors import InvalidRequestError, NotAllowedError, UnsupportedError
from service.gateway import Gateway

_REMEDY = "set allow_control = true in gateway.toml, or start the server with --allow-control true"


class _Command(Struct, forbid_unknown_fields=True):
    """The body of both paths, which may be left out."""

    parameters: dict[str, msgspec.Raw] = {}


class V2Repository:
    """`repository` None: both paths answer 403."""

    def __init__(self, gateway: Gateway, repository: Repository | None, limits: Limits) -> None:
        self._gateway = gateway
        self._repository = repository
        self._limits = limits

    def routes(self) -> APIRouter:
        """The two paths."""
        router = APIRouter(prefix="/v2/repository/models", tags=["Open Inference Protocol v2"])
        router.post("/{model}/load", summary="Load a model, or load it anew")(self.load)
        router.post("/{model}/unload", summary="Unload a model")(self.unload)
        return router

    async def load(self, request: Request, model: str) -> list[IndexEntry]:
        """Opens the model as its folder is now, then switches to it; what is loaded of it serves until then, and goes
        on where the new one cannot be opened (400)."""
        repository = self._allowed()
        _check_load(await self._parameters(request))
        await repository.load(model)
        return index_entries(self._gateway.model(model))

    async def unload(self, request: Request, model: str) -> list[IndexEntry]:
        """Takes the model out of service; what it has in hand is answered."""
        repository = self._allowed()
        _check_unload(await self._parameters(request))
        await repository.unload(model)
        return index_entries(self._gateway.model(model))

    def _allowed(self) -> Repository:
        if self._repository is None:
            raise NotAllowedError(f"this server does not let callers load and unload models; {_REMEDY}")
        return self._repository

    async def _parameters(self, request: Request) -> Mapping[str, msgspec.Raw]:
        body = await read_body(request.receive, dict(request.scope["headers"]), self._limits)
        try:
            return msgspec.json.decode(body, type=_Command).parameters if body else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequestError(f"the body is not right: {error}") from None


def _check_load(parameters: Mapping[str, msgspec.Raw]) -> None:
    for name in parameters:
        if name == "config" or name.startswith("file:"):
            raise UnsupportedError(
                f"load parameter {name!r} is not served; change the model's folder, then load it without", name
            )
        raise InvalidRequestError(f"unknown load parameter {name!r}; leave it out", name)


def _check_unload(parameters: Mapping[str, msgspec.Raw]) -> None:
    for name, value in parameters.items():
        if name != "unload_dependents":
            raise InvalidRequestError(f"unknown unload parameter {name!r}; leave it out", name)
        if bytes(value) != b"false":
            raise UnsupportedError(f"{name} is not served; unload each model by its own name", name)
