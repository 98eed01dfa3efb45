"""Servers to ask: another Batchyard, and a real Triton."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.repository import write
from tests.e2e.processes import IDENTITY, Server, parameter, serving, write_model
from tests.triton.install import NotAvailableError
from tests.triton.server import TritonServer

TRITON_MODELS = ("identity_fp32", "simple_sequence", "repeat_int32", "execute_error", "request_fields")


def identities(root: Path) -> Path:
    """A repository of identity models: quick, slow, and failing on 13."""
    write_model(root, "quick", IDENTITY)
    write_model(root, "slow", IDENTITY + parameter("identity.delay_ms", 1500))
    write_model(root, "failing", IDENTITY + parameter("identity.fail_on_value", 13))
    return root


@pytest.fixture(scope="session")
def batchyard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("batchyard")
    with serving(folder, identities(folder / "models"), "--drain-seconds", "0") as server:
        yield server


@pytest.fixture(params=["grpc", "http"])
def url(request: pytest.FixtureRequest, batchyard: Server) -> str:
    """Of the Batchyard, over each protocol."""
    return f"grpc://{batchyard.grpc}" if request.param == "grpc" else f"http://127.0.0.1:{batchyard.port}"


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("triton")
    write(folder, "python", TRITON_MODELS)
    try:
        server = TritonServer(folder)
    except NotAvailableError as error:
        pytest.skip(str(error))
    with server:
        yield server
