"""Control endpoints, open to a caller: what is sent may be refused, and changes nothing outside its model."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.hostile.cases import EITHER, REFUSED, Case, Http, document, nested
from tests.hostile.rest import HUGE

SECRET = "../../../../../../etc/passwd"
PATHS = (
    "../../x",
    "/etc/cron.d/x",
    "1/../../../x",
    "1/..",
    "a\0b",
    "1/\r\n",
    "x" * 5000,
    "1/" * 40 + "x",
    "config.pbtxt",
    "1/",
    "",
    ".",
)


def load(name: str, parameters: Any, model: str = "sent", statuses: range = REFUSED) -> Case:
    """A request to load a model."""
    body = document({"parameters": parameters})
    return Case(f"load: {name}", Http(f"/v2/repository/models/{model}/load", body), statuses)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _files()
    yield from _configs()
    yield from _names()
    yield from _settings()


def _files() -> Iterator[Case]:
    config, content = '{"backend": "identity"}', base64.b64encode(b"x").decode()
    for path in PATHS:
        yield load(f"the file {path[:20]!r}", {"config": config, f"file:{path}": content})
    yield load("a file that is no base64", {"config": config, "file:1/model.onnx": "!!!"})
    yield load("a file that is a number", {"config": config, "file:1/model.onnx": HUGE})
    yield load("files without a config", {"file:1/model.onnx": content})
    yield load("a file and a folder of one name", {"config": config, "file:1/a": content, "file:1/a/b": content})
    pickled = base64.b64encode(b"\x80\x04cos\nsystem\n(S'true'\ntR.").decode()
    for backend, name in (("pytorch", "model.pt"), ("onnxruntime", "model.onnx"), ("openvino", "model.xml")):
        sent = document(_config(backend)).decode()
        yield load(f"a pickle for {backend}", {"config": sent, f"file:1/{name}": pickled})
    entities = base64.b64encode(b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>').decode()
    sent = document(_config("openvino")).decode()
    yield load("XML that reads files", {"config": sent, "file:1/model.xml": entities})


def _config(backend: str) -> dict[str, Any]:
    tensor = {"name": "a", "data_type": "TYPE_FP32", "dims": [1]}
    return {"backend": backend, "max_batch_size": 1, "input": [tensor], "output": [tensor | {"name": "b"}]}


def _configs() -> Iterator[Case]:
    identity = _config("identity")
    configs: dict[str, Any] = {
        "no JSON": "{",
        "a list": "[]",
        "200,000 deep": nested(200_000).decode(),
        "an unknown backend": document(identity | {"backend": "../../x.so"}).decode(),
        "a path as model file": document(_config("onnxruntime") | {"default_model_filename": SECRET}).decode(),
        "a path as labels": document(
            identity | {"output": [{"name": "b", "data_type": "TYPE_FP32", "dims": [1], "label_filename": SECRET}]}
        ).decode(),
        "2^31 instances": document(identity | {"instance_group": [{"count": 2**31}]}).decode(),
        "a batch of -1": document(identity | {"max_batch_size": -1}).decode(),
        "dims of 2^63": document(identity | {"input": [{"name": "a", "dims": [2**63 - 1] * 40}]}).decode(),
        "another name": document(identity | {"name": "identity2"}).decode(),
        "a number": 5,
        "null": None,
    }
    for name, config in configs.items():
        yield load(f"config, {name}", {"config": config}, "identity")
    yield load("parameters are a list", [], "identity")
    yield load("a parameter of nobody", {"run": "true"}, "identity")
    yield Case("load: no JSON", Http("/v2/repository/models/identity/load", b"{"), REFUSED)
    yield Case("load: an unknown key", Http("/v2/repository/models/identity/load", b'{"exec": 1}'), REFUSED)


def _names() -> Iterator[Case]:
    for name in ("%2e%2e", "..%2f..%2fetc", "a%00b", "a%0d%0ab", "%D1%96dentity", "n" * 4000, "%ff", "~root"):
        for verb in ("load", "unload"):
            yield Case(f"{verb}: {name[:20]}", Http(f"/v2/repository/models/{name}/{verb}"), REFUSED)


def _settings() -> Iterator[Case]:
    logging = ({"log_file": SECRET}, {"log_info": "x"}, {"log_verbose_level": -1}, {"log_verbose_level": HUGE}, [], 5)
    for value in logging:
        yield Case(f"logging: {str(value)[:40]}", Http("/v2/logging", document(value)), REFUSED)
    traces = ({"trace_file": SECRET}, {"trace_level": ["X"]}, {"trace_rate": "-1"}, {"trace_rate": "9" * 400}, [])
    for value in traces:
        yield Case(f"trace: {str(value)[:40]}", Http("/v2/trace/setting", document(value)), REFUSED)
    deep = nested(100_000)
    for path in ("/v2/logging", "/v2/trace/setting", "/v2/repository/index", "/v2/repository/models/identity/load"):
        yield Case(f"{path}: 100,000 deep", Http(path, deep), REFUSED)
        yield Case(f"{path}: not UTF-8", Http(path, b"\xff\xfe"), REFUSED)
    region = "/v2/systemsharedmemory/region/x/register"
    yield Case("shared memory", Http(region, document({"key": "/../../x", "byte_size": 2**63})), REFUSED)
    yield Case("metrics with a body", Http("/metrics", b"x" * 100_000, method="GET"), EITHER)
