"""Asks both servers everything, one request after the other."""

import http.client
from collections.abc import Iterable, Iterator

from tritonclient.grpc import service_pb2

from tests.conformance.differential.compare import Finding, compare
from tests.conformance.differential.exchange import Exchange, Grpc, Http, Seen
from tests.conformance.differential.grpc_calls import bad_calls, good_calls
from tests.conformance.differential.http_bad import bad
from tests.conformance.differential.http_good import good
from tests.conformance.served import Served


def exchanges() -> list[Exchange]:
    """Every request, in order. Statistics are asked for when all that is right was counted: what Triton answers of the
    rest, and we refuse, would be in them."""
    return [*good(), *good_calls(), *_statistics(), *bad(), *bad_calls()]


def _statistics() -> Iterator[Exchange]:
    yield Http("statistics", "/v2/models/stats")
    for model in ("simple", "execute_error", "simple_sequence", "repeat_int32", "ensemble_simple", "bls_simple"):
        yield Http(f"statistics of {model}", f"/v2/models/{model}/stats")
        yield Http(f"statistics of {model} version 1", f"/v2/models/{model}/versions/1/stats")
        asked = service_pb2.ModelStatisticsRequest(name=model)
        yield Grpc(f"grpc statistics of {model}", "ModelStatistics", (asked,))


def findings(asked: Iterable[Exchange], triton: Served, ours: Served) -> Iterator[Finding]:
    """Where the answers differ."""
    for exchange in asked:
        yield from compare(exchange.name, _ask(exchange, triton), _ask(exchange, ours))


def _ask(exchange: Exchange, server: Served) -> Seen:
    """A connection that is cut is an answer, too."""
    try:
        return exchange.ask(server)
    except (OSError, http.client.HTTPException) as error:
        return Seen("none", f"{type(error).__name__}: {error}")
