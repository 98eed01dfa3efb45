"""How the server speaks: as itself, or as Triton does where clients look at it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from types import MappingProxyType

import orjson
from fastapi import Response

from service.api.errors import NOT_READY, OK
from service.api.json_tensors import NonFinite, bare, quoted
from service.errors import BatchyardError, NotFoundError

TRITON_VERSION = "2.51.0"
"""Of the Triton that the differential test compares with."""

_MODEL_NOT_READY = {"error": "Model version not ready"}


@dataclass(frozen=True, slots=True)
class Manner:
    """`name`, `version`: of the server, in its metadata. `words`: the message of an error.

    `health`: the answer to "ready?", from its body and what it is. `model_health`: the same of a model. `done`: the
    answer to a command, from what there is to say about it. `unknown`: the answer to "ready?" of a model that is not
    there, or the error. `non_finite`: writes NaN and infinities in JSON.
    """

    name: str
    version: str
    words: Callable[[Exception], str]
    health: Callable[[object, bool], Response]
    model_health: Callable[[object, bool], Response]
    done: Callable[[object], Response]
    unknown: Callable[[NotFoundError], Response]
    non_finite: NonFinite


def own_manner() -> Manner:
    """Every answer has a body that says what it is."""
    return Manner("batchyard", installed_version("batchyard"), str, _health, _health, _done, _raise, quoted)


def triton_manner() -> Manner:
    """Triton's name, its words where we know them, and its empty bodies."""
    return Manner(
        "triton", TRITON_VERSION, triton_words, _bare_health, _bare_model_health, _bare_done, _bare_unknown, bare
    )


def triton_words(error: Exception) -> str:
    """The error as Triton words it; in our words where it has none for this."""
    return (error.triton if isinstance(error, BatchyardError) else "") or str(error)


def _health(body: object, ready: bool) -> Response:
    return _json(body, OK if ready else NOT_READY)


def _done(body: object) -> Response:
    return _json(body, OK)


def _json(body: object, status: int) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _bare_health(body: object, ready: bool) -> Response:
    return Response(b"", OK if ready else NOT_READY, media_type="text/plain")


def _bare_model_health(body: object, ready: bool) -> Response:
    return _bare_health(body, ready) if ready else _json(_MODEL_NOT_READY, NOT_READY)


def _raise(error: NotFoundError) -> Response:
    raise error


def _bare_unknown(error: NotFoundError) -> Response:
    return _bare_model_health(error, False)


def _bare_done(body: object) -> Response:
    return Response(b"", OK, media_type="application/json")


MANNERS: Mapping[str, Callable[[], Manner]] = MappingProxyType({"none": own_manner, "triton": triton_manner})
"""By the setting `compat`."""
