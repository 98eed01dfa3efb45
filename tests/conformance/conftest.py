"""The server that the conformance tests ask."""

from collections.abc import Iterator

import pytest

from tests.conformance.served import Served, serving
from tests.triton.install import NotAvailableError

EXAMPLE_MODELS = (
    "simple",
    "simple_int8",
    "simple_string",
    "simple_identity",
    "simple_sequence",
    "simple_dyna_sequence",
    "simple_string_dyna_sequence",
)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with all models; nobody loads or unloads any."""
    try:
        with serving(tmp_path_factory.mktemp("conformance")) as server:
            yield server
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Another server, with seven models to load and unload; a test finds them as the one before left them."""
    try:
        with serving(tmp_path_factory.mktemp("controlled"), EXAMPLE_MODELS) as server:
            yield server
    except NotAvailableError as error:
        pytest.skip(str(error))
