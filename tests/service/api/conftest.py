"""The HTTP surface over the test gateway, served by a real uvicorn. To test a whole app, give another `address`."""

import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import openai
import pytest
from fastapi import FastAPI

from service.api import Limits, mount
from tests.service.api.models import TestGateway
from tests.service.api.serving import Address, serve

MAX_BODY_BYTES = 2_000_000


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Log settings are the process's; no test leaves its own to the next."""
    root = logging.getLogger()
    level, filters = root.level, [(handler, handler.filters[:]) for handler in root.handlers]
    yield
    root.setLevel(level)
    for handler, before in filters:
        handler.filters[:] = before


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> TestGateway:
    return TestGateway(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def address(gateway: TestGateway) -> Iterator[Address]:
    app = FastAPI(title="Batchyard")
    mount(app, gateway, Limits(max_body_bytes=MAX_BODY_BYTES))  # type: ignore[arg-type]
    with serve(app) as address:
        yield address


@pytest.fixture(scope="session")
def http(address: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address.url, timeout=30) as client:
        yield client


@pytest.fixture
def client(address: Address) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def strict(address: Address) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{address.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def async_client(address: Address) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_strict(address: Address) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{address.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client
