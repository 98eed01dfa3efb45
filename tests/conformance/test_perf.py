"""Triton's perf_analyzer measures the server under test over both protocols."""

import pytest

from tests.conformance.perf import Protocol, measure
from tests.conformance.served import Served
from tests.triton.install import NotAvailableError


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_perf_analyzer_gets_its_figures(served: Served, protocol: Protocol) -> None:
    try:
        found = measure(served.http if protocol == "http" else served.grpc, protocol)
    except NotAvailableError as error:
        pytest.skip(str(error))
    assert found.throughput > 0
    assert 0 < found.p50 <= found.p99
