"""The table of scopes has every path and every method there is, and none besides."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from tritonclient.grpc import service_pb2

from service.access.keys import digest_of
from service.api.scopes import GRPC, HTTP, Way, Ways
from service.app import create_service
from service.settings import Settings
from service.stopping import Stopping
from service.tenant_settings import TenantSettings


def _routes(routes: list[Any]) -> Iterator[tuple[str, str]]:
    """All of them, whether the OpenAPI page shows them or not."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _routes(inner.routes)
        else:
            yield from ((method, route.path) for method in route.methods if method != "HEAD")


def test_every_path_of_the_app_has_its_scope() -> None:
    tenants = {"app": TenantSettings(keys=[digest_of(b"k").hex()])}
    app = create_service(Settings(tenants=tenants, allow_control=True), Stopping()).app
    found = list(_routes(app.router.routes))  # type: ignore[attr-defined]
    assert len(found) > 40
    assert {("GET", "/metrics"), ("POST", "/v1/embeddings"), ("GET", "/v1/usage"), ("GET", "/v2")} <= set(found)
    assert set(found) - HTTP.keys() == set(), "these paths have no scope; say in service/api/scopes.py what they need"
    assert HTTP.keys() - set(found) == set(), "these paths are not there any more"


def test_every_method_of_grpc_has_its_scope() -> None:
    service: ServiceDescriptor = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {method.name for method in service.methods} | {"Check", "Watch"} == GRPC.keys()


def test_paths_are_found_as_the_router_finds_them() -> None:
    ways = Ways(HTTP)
    assert ways.find("/v2/models/stats") == Way({"GET": "metrics"}, "")
    assert ways.find("/v2/models/stats/infer") == Way({"POST": "infer"}, "stats")
    assert ways.find("/v2/models/a.b/versions/7/infer") == Way({"POST": "infer"}, "a.b")
    assert ways.find("/v1/models/a/b") == Way({"GET": "infer"}, "a/b")
    assert ways.find("/v2/trace/setting") == Way({"GET": "admin", "POST": "admin"}, "")
    for path in ("/v2/models/a/b/infer", "/V2", "/metrics/", "/v2/models//infer", "/v2x", "", "/metrics\n"):
        assert ways.find(path) is None
    for _, path in HTTP:
        filled = path.replace("{model:path}", "m").replace("{model}", "m").replace("{version}", "1")
        way = ways.find(filled.replace("{region}", "r"))
        assert way is not None
        assert way.model == ("m" if "{model" in path else "")
