"""The page at /docs: the OpenAPI document as plain HTML, without scripts and without anything of other hosts."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Response

PATH = "/docs"
_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
summary { cursor: pointer; padding: .3rem 0; } code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { background: #8881; padding: .6rem; overflow-x: auto; } b { display: inline-block; min-width: 4rem; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } a { color: #8bf; } }
"""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}


def mount_docs(app: FastAPI) -> None:
    """Adds the page to `app`, which must have been told to have none of FastAPI's: those run scripts of a CDN."""
    router = APIRouter()
    router.get(PATH, include_in_schema=False)(_answer(app.openapi))
    app.include_router(router)


def _answer(document: Callable[[], Mapping[str, Any]]) -> Callable[[], Response]:
    def docs() -> Response:
        return Response(page(document()), media_type="text/html", headers=_HEADERS)

    return docs


def page(document: Mapping[str, Any]) -> str:
    """The whole page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p>For tools: <a href="/openapi.json">openapi.json</a></p>{"".join(_groups(document))}</html>'
    )


def _groups(document: Mapping[str, Any]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in filter(item.__contains__, _METHODS):
            operation = item[method]
            groups.setdefault(operation.get("tags", ["Other"])[0], []).append(_operation(method, path, operation))
    for tag, operations in groups.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(operations)}"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    summary = escape(operation.get("summary", ""))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {summary}</summary>"
        f"<p>{escape(operation.get('description', ''))}</p>{_parameters(operation)}{_schema('Body', body)}"
        f"{''.join(_answers(operation))}</details>"
    )


def _parameters(operation: Mapping[str, Any]) -> str:
    rows = [
        f"<li><code>{escape(one['name'])}</code> ({escape(one['in'])}) {escape(one.get('description', ''))}"
        for one in operation.get("parameters", ())
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def _answers(operation: Mapping[str, Any]) -> Iterator[str]:
    for status, answer in operation.get("responses", {}).items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        yield f"<p><b>{escape(status)}</b> {escape(answer.get('description', ''))}</p>{_schema('Answer', schema)}"


def _schema(title: str, schema: Mapping[str, Any] | None) -> str:
    if not schema:
        return ""
    text = escape(json.dumps(schema.get("example", schema), indent=2, ensure_ascii=False))
    return f"<p>{title}{' (example)' if 'example' in schema else ''}:</p><pre>{text}</pre>"
