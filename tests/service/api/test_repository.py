"""Triton's model repository extension: who may load and unload, and what is refused."""

from collections.abc import Iterator

import httpx
import pytest
import tritonclient.http
from fastapi import FastAPI
from tritonclient.utils import InferenceServerException

from service.api import Limits, Operations, mount
from service.errors import LoadFailedError
from service.overrides import NO_OVERRIDES, Overrides
from service.stopping import Stopping
from tests.service.api.models import TestGateway
from tests.service.api.serving import Address, serve


class Changes:
    """A repository that remembers what it was told; `broken` cannot be loaded."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.overrides = NO_OVERRIDES

    async def load(self, name: str, overrides: Overrides = NO_OVERRIDES) -> None:
        if name == "broken":
            raise LoadFailedError("model 'broken' was not loaded: config.pbtxt:1: no")
        self.told.append(("load", name))
        self.overrides = overrides

    async def unload(self, name: str, dependents: bool = False) -> None:
        self.told.append(("unload with dependents" if dependents else "unload", name))


@pytest.fixture(scope="module")
def changes() -> Changes:
    return Changes()


@pytest.fixture(scope="module")
def stopping() -> Stopping:
    return Stopping()


@pytest.fixture(scope="module")
def allowed(gateway: TestGateway, changes: Changes, stopping: Stopping) -> Iterator[Address]:
    app = FastAPI()
    mount(app, gateway, Limits(), Operations(stopping, changes))  # type: ignore[arg-type]
    with serve(app) as address:
        yield address


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_it_is_forbidden_unless_it_is_allowed(http: httpx.Client, verb: str) -> None:
    answer = http.post(f"/v2/repository/models/identity/{verb}")
    assert answer.status_code == 403
    assert "allow_control = true" in answer.json()["error"]
    assert "model_repository" not in http.get("/v2").json()["extensions"]


def test_the_official_client_loads_and_unloads(allowed: Address, changes: Changes) -> None:
    client = tritonclient.http.InferenceServerClient(allowed.netloc)
    client.load_model("identity")
    client.unload_model("identity")
    assert changes.told[-2:] == [("load", "identity"), ("unload", "identity")]
    assert "model_repository" in client.get_server_metadata()["extensions"]
    with pytest.raises(InferenceServerException, match="was not loaded"):
        client.load_model("broken")
    client.close()


def test_the_official_client_sends_a_config_and_files(allowed: Address, changes: Changes) -> None:
    client = tritonclient.http.InferenceServerClient(allowed.netloc)
    client.load_model("identity", config='{"backend": "identity"}', files={"file:1/model.onnx": b"\x00\xff"})
    assert changes.overrides == Overrides('{"backend": "identity"}', {"1/model.onnx": b"\x00\xff"})
    client.load_model("identity")
    assert changes.overrides == NO_OVERRIDES
    client.unload_model("identity", unload_dependents=True)
    client.close()
    assert changes.told[-1] == ("unload with dependents", "identity")


def test_what_is_loaded_comes_back(allowed: Address) -> None:
    answer = httpx.post(f"{allowed.url}/v2/repository/models/identity/load")
    assert answer.json() == [{"name": "identity", "version": version, "state": "READY"} for version in ("1", "2")]
    broken = httpx.post(f"{allowed.url}/v2/repository/models/broken/load")
    assert (broken.status_code, broken.json()) == (400, {"error": "model 'broken' was not loaded: config.pbtxt:1: no"})


@pytest.mark.parametrize(
    ("verb", "content", "words"),
    [
        ("load", b'{"parameters": {"config": {}}}', "load parameter 'config' is not right: Expected `str`"),
        ("load", b'{"parameters": {"file:1/model.onnx": "AAA"}}', "'file:1/model.onnx' is no base64"),
        ("load", '{"parameters": {"file:1/model.onnx": "\u00c4AAA"}}'.encode(), "'file:1/model.onnx' is no base64"),
        ("load", b'{"parameters": {"hurry": true}}', "unknown load parameter 'hurry'"),
        ("unload", b'{"parameters": {"unload_dependents": 1}}', "unload_dependents is 1; it must be true or false"),
        ("unload", b'{"parameters": {"unload_dependents": "\xff"}}', "it must be true or false"),
        ("unload", b'{"parameters": {"config": "{}"}}', "unknown unload parameter 'config'"),
        ("load", b'{"config": "{}"}', "unknown field `config`"),
        ("load", b"{", "not right"),
        ("load", b"[" * 100_000, "not right"),
    ],
)
def test_bodies_that_are_refused(allowed: Address, changes: Changes, verb: str, content: bytes, words: str) -> None:
    told = list(changes.told)
    answer = httpx.post(f"{allowed.url}/v2/repository/models/identity/{verb}", content=content)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert changes.told == told


def test_a_server_that_is_going_to_stop_is_alive_but_not_ready(allowed: Address, stopping: Stopping) -> None:
    with httpx.Client(base_url=allowed.url) as http:
        stopping.begun = True
        try:
            told = [http.get(path) for path in ("/v2/health/ready", "/v2/models/identity/ready", "/v2/health/live")]
        finally:
            stopping.begun = False
        assert [answer.status_code for answer in told] == [400, 400, 200]
        assert told[1].json() == {"name": "identity", "ready": False}
        assert http.get("/v2/health/ready").status_code == 200
