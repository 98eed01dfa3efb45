"""Server-sent events as they come off the wire."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx


def events_of(body: str) -> list[str]:
    """The events and comments of a whole body, which must be made of whole ones."""
    assert body.endswith("\n\n")
    return body.removesuffix("\n\n").split("\n\n")


def data_of(body: str) -> list[Any]:
    """What the events of a whole body hold; comments and [DONE] are left out."""
    datas = [event.removeprefix("data: ") for event in events_of(body) if event.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


@contextmanager
def open_stream(http: httpx.Client, path: str, body: Any) -> Iterator[tuple[httpx.Response, Iterator[str]]]:
    """A response whose head has come, and its lines as they come; blank ones are left out."""
    with http.stream("POST", path, json=body) as response:
        yield response, (line for line in response.iter_lines() if line)
