"""The page at /docs can be read offline: no scripts, nothing from elsewhere, and a policy that would forbid it."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI

from service.api import Limits, mount
from service.api.docs_page import mount_docs, page
from tests.service.api.models import TestGateway
from tests.service.api.serving import serve


@pytest.fixture(scope="module")
def answer(gateway: TestGateway) -> Iterator[httpx.Response]:
    app = FastAPI(title="Batchyard", docs_url=None, redoc_url=None)
    mount(app, gateway, Limits())  # type: ignore[arg-type]
    mount_docs(app)
    with serve(app) as address:
        yield httpx.get(f"{address.url}/docs")


class _Found(HTMLParser):
    """What a page refers to, and what it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]


def test_it_needs_no_other_host(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    found = _Found(answer.text)
    assert found.links == ["/openapi.json"]
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for name in found.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in answer.text
    assert "@import" not in answer.text


def test_its_policy_allows_its_style_and_nothing_else(answer: httpx.Response) -> None:
    style = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = b64encode(sha256(style[0].encode()).digest()).decode()
    assert answer.headers["content-security-policy"].startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "words", ["/v2/models/{model}/infer", "/v1/chat/completions", "Open Inference Protocol v2", "x-deadline-ms"]
)
def test_it_tells_what_is_served(answer: httpx.Response, words: str) -> None:
    assert words in answer.text


def test_what_the_document_says_is_only_shown() -> None:
    evil = "</pre><script>alert(1)</script>"
    operation = {
        "tags": [evil],
        "summary": evil,
        "description": evil,
        "parameters": [{"name": evil, "in": "query", "description": evil}],
        "requestBody": {"content": {"application/json": {"schema": {"example": evil}}}},
        "responses": {"200": {"description": evil}},
    }
    shown = page({"info": {"title": evil}, "paths": {evil: {"get": operation}}})
    assert "script" not in _Found(shown).tags
    assert shown.count("&lt;script&gt;") >= 8
