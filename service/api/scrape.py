"""GET /metrics for Prometheus."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse


def scrape_router(exposition: Callable[[], tuple[bytes, str]]) -> APIRouter:
    """`exposition` gives the metrics as text and their content type."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", summary="Metrics in Prometheus' text format", response_class=PlainTextResponse)
    def metrics() -> Response:
        body, content_type = exposition()
        return Response(body, media_type=content_type)

    return router
