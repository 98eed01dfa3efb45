"""Who may ask what, in the OpenAPI page: where tenants are named."""

from fastapi import FastAPI

from service.api.openapi_parts import Schema
from service.api.scopes import HTTP, Needed

_SCHEMES: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "authorization: Bearer KEY"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def document_keys(app: FastAPI) -> None:
    """Adds how a key is sent, and the scope that each path needs, to the app's OpenAPI page."""
    derive = app.openapi

    def openapi() -> Schema:
        schema = derive()
        schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
        for (method, path), needed in HTTP.items():
            operation = schema["paths"].get(path.replace(":path", ""), {}).get(method.lower())
            if operation is not None:
                operation["security"] = _security(needed)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _security(needed: Needed) -> list[dict[str, list[str]]]:
    if needed == "public":
        return []
    scopes: list[str] = [] if needed == "key" else [needed]
    return [{"bearer": scopes}, {"key": scopes}]
