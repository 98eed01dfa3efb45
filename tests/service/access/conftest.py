"""One server for all tests of a file."""

from collections.abc import Iterator

import pytest

from tests.service.access.served import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("tenants")) as made:
        yield made
