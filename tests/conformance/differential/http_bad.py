"""HTTP requests that a server refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.conformance.differential.exchange import Http
from tests.conformance.differential.http_good import PAIR, PAIRS, infer, step
from tests.conformance.differential.tensors import Tensor, binary_body, ints, json_body


def bad() -> Iterator[Http]:
    """All of them, in the order in which they are to be asked."""
    yield from _paths()
    yield from _json()
    for model in ("simple", "simple_int8", "simple_string", "ensemble_simple"):
        yield from _inputs(model)
    yield from _outputs()
    yield from _binary()
    yield from _parameters()
    yield from _models()
    yield from _control()


def _paths() -> Iterator[Http]:
    for path in ("/", "/v2/nope", "/v2/models", "/v2/models/", "/v2/models/simple/nope", "/v2/health"):
        yield Http(f"no path {path}", path)
    for what in ("", "/ready", "/config", "/stats", "/versions/7", "/versions/x", "/versions/7/ready"):
        yield Http(f"get nope{what}", f"/v2/models/nope{what}")
    for what in ("", "/ready", "/config", "/stats"):
        yield Http(f"get simple version 7{what}", f"/v2/models/simple/versions/7{what}")
    yield Http("infer nope", infer("nope"), json_body(*[t.json() for t in PAIR]))
    yield Http("infer version 7", "/v2/models/simple/versions/7/infer", json_body(*[t.json() for t in PAIR]))
    yield Http("get infer", infer("simple"))
    for path in ("/v2", "/v2/health/live", "/v2/models/simple", "/v2/models/simple/config", "/v2/models/simple/stats"):
        yield Http(f"post {path}", path, b"{}")
    yield Http("put infer", infer("simple"), b"{}", method="PUT")


def _json() -> Iterator[Http]:
    texts = [
        "",
        "{",
        "[]",
        "5",
        "null",
        '"a"',
        "{}",
        '{"inputs": 5}',
        '{"inputs": {}}',
        '{"inputs": [5]}',
        "\x00",
        "{} {}",
    ]
    texts += ['{"inputs": []}', '{"inputs": [{}]}', '{"inputs": [{"name": "INPUT0"}]}', '{"id": 5, "inputs": []}']
    for text in texts:
        yield Http(f"body {text!r}", infer("simple"), text.encode())
    yield Http("not utf-8", infer("simple"), b'{"id": "\xff", "inputs": []}')
    yield Http("deep", infer("simple"), b'{"inputs": ' + b"[" * 200 + b"]" * 200 + b"}")


def _inputs(model: str) -> Iterator[Http]:
    first, second = PAIRS[model]
    other = "FP32" if first.datatype != "FP32" else "INT32"
    zeros = [0] * 16
    changed: dict[str, dict[str, Any]] = {
        "name": {"name": "NOPE"},
        "datatype": {"datatype": other, "data": zeros},
        "unknown datatype": {"datatype": "WHAT"},
        "too few values": {"data": first.values[:5]},
        "too many values": {"data": first.values * 2},
        "no values": {"data": []},
        "values of no list": {"data": 5},
        "wrong shape": {"shape": [1, 4], "data": first.values[:4]},
        "rank": {"shape": [16]},
        "rank of 3": {"shape": [1, 1, 16]},
        "negative shape": {"shape": [1, -16]},
        "fractional shape": {"shape": [1, 16.5]},
        "shape of no list": {"shape": 16},
        "no shape": {"shape": None},
        "no name": {"name": None},
        "no datatype": {"datatype": None},
        "null values": {"data": [None] * 16},
        "mixed values": {"data": [*first.values[:15], [1]]},
        "batch of 0": {"shape": [0, 16], "data": []},
        "shared memory": {"data": None, "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 64}},
        "twice a source": {"parameters": {"binary_data_size": 64}},
    }
    for title, changes in changed.items():
        yield Http(f"{model} {title}", infer(model), json_body(first.json(**changes), second.json()))
    yield Http(f"{model} one missing", infer(model), json_body(first.json()))
    yield Http(f"{model} one twice", infer(model), json_body(first.json(), first.json()))
    yield Http(f"{model} one more", infer(model), json_body(first.json(), second.json(), first.json(name="MORE")))
    rows = [replace(t, shape=(9, 16), values=t.values * 9).json() for t in (first, second)]
    yield Http(f"{model} too many rows", infer(model), json_body(*rows))
    yield Http(f"{model} with id", infer(model), json_body(first.json(), id="named"))
    two = replace(second, shape=(2, 16), values=second.values * 2).json()
    yield Http(f"{model} rows differ", infer(model), json_body(first.json(), two))


def _outputs() -> Iterator[Http]:
    inputs = [tensor.json() for tensor in PAIR]
    wanted: dict[str, Any] = {
        "unknown": [{"name": "NOPE"}],
        "twice": [{"name": "OUTPUT0"}, {"name": "OUTPUT0"}],
        "no name": [{}],
        "no objects": [5],
        "no list": 5,
        "classes 0": [{"name": "OUTPUT0", "parameters": {"classification": 0}}],
        "classes of text": [{"name": "OUTPUT0", "parameters": {"classification": "a"}}],
        "shared memory": [
            {"name": "OUTPUT0", "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 64}}
        ],
        "binary of text": [{"name": "OUTPUT0", "parameters": {"binary_data": "a"}}],
    }
    for title, outputs in wanted.items():
        yield Http(f"outputs {title}", infer("simple"), json_body(*inputs, outputs=outputs))


def _binary() -> Iterator[Http]:
    body, headers = binary_body(*PAIR)
    length = int(headers["Inference-Header-Content-Length"])
    for title, cut in (("short", body[:-4]), ("long", body + b"abcd"), ("none", body[:length])):
        yield Http(f"binary {title}", infer("simple"), cut, headers)
    for value in ("x", "-1", str(length - 5), str(len(body) + 5), "99999999999999999999"):
        yield Http(f"header length {value}", infer("simple"), body, {"Inference-Header-Content-Length": value})
    string = Tensor("INPUT0", "BYTES", (1, 2), ("ab", "c"))
    good = string.raw()
    for title, raw in (("cut", good[:-1]), ("huge length", b"\xff\xff\xff\x7f" + good[4:]), ("one more", good + good)):
        size = {"binary_data_size": len(raw)}
        head = json.dumps({"inputs": [string.json(data=None, parameters=size)]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        yield Http(f"strings {title}", infer("simple_identity"), head + raw, headers)
    raw_headers = {"Inference-Header-Content-Length": "0"}
    yield Http("raw of two inputs", infer("simple"), body, raw_headers)
    yield Http("not gzip", infer("simple"), body, {"Content-Encoding": "gzip"})
    yield Http("unknown encoding", infer("simple"), body, {"Content-Encoding": "br"})


def _parameters() -> Iterator[Http]:
    one = ints("INPUT0", 1).json(shape=[1])
    for number, parameters in enumerate(
        (
            {"sequence_id": -1},
            {"sequence_id": 1.5},
            {"sequence_id": True},
            {"sequence_start": "a"},
            {"priority": -1},
            {"priority": "a"},
            {"timeout": -1},
            {"timeout": "a"},
            {"triton_mine": 1},
            {"object": {}},
            {"list": []},
            {"null": None},
        )
    ):
        yield Http(f"parameters {number}", infer("request_fields"), json_body(one, parameters=parameters))
    yield Http("parameters of no object", infer("request_fields"), json_body(one, parameters=5))


def _models() -> Iterator[Http]:
    for model, known, unknown in (
        ("simple_sequence", 5, 77),
        ("simple_dyna_sequence", 7, 77),
        ("simple_string_dyna_sequence", "31", "zz"),
        ("accumulate", 11, 77),
    ):
        yield Http(f"{model} no id", infer(model), json_body(ints("INPUT", 1).json()))
        yield Http(f"{model} id 0", infer(model), step(1, 0, start=True))
        yield Http(f"{model} id empty", infer(model), step(1, "", start=True))
        yield Http(f"{model} not begun", infer(model), step(1, unknown))
        yield Http(f"{model} ended", infer(model), step(1, known))
        yield Http(f"{model} ends unbegun", infer(model), step(1, unknown, end=True))
        yield Http(f"{model} two rows", infer(model), json_body(ints("INPUT", 1, 0, "INT32", 2).json()))
    waits = [ints(name, 1, 0, "UINT32").json(shape=[1]) for name in ("DELAY", "WAIT")]
    body = json_body(ints("IN", 1).json(shape=[1]), *waits)
    yield Http("decoupled", infer("repeat_int32"), body)
    for value in range(-3, 3):
        yield Http(f"fault {value}", infer("execute_error"), json_body(ints("INPUT0", 1, value).json()))
    yield Http("optional none", infer("optional_identity"), json_body())


def _control() -> Iterator[Http]:
    yield Http("load nope", "/v2/repository/models/nope/load", b"")
    yield Http("unload nope", "/v2/repository/models/nope/unload", b"")
    yield Http("load with garbage", "/v2/repository/models/simple/load", b"{")
    yield Http("load bad config", "/v2/repository/models/simple/load", b'{"parameters": {"config": "{"}}')
    yield Http("load file alone", "/v2/repository/models/simple/load", b'{"parameters": {"file:1/model.py": "YQ=="}}')
    yield Http("simple goes on", infer("simple"), json_body(*[t.json() for t in PAIR]))
    yield Http("unload simple_int8", "/v2/repository/models/simple_int8/unload", b"")
    yield Http("unloaded ready", "/v2/models/simple_int8/ready")
    yield Http("unloaded metadata", "/v2/models/simple_int8")
    yield Http("unloaded infer", infer("simple_int8"), json_body(*[t.json() for t in PAIRS["simple_int8"]]))
    yield Http("unloaded index", "/v2/repository/index", b"")
    yield Http("load simple_int8", "/v2/repository/models/simple_int8/load", b"")
    yield Http("loaded ready", "/v2/models/simple_int8/ready")
    yield Http("loaded infer", infer("simple_int8"), json_body(*[t.json() for t in PAIRS["simple_int8"]]))
    yield Http("trace garbage", "/v2/trace/setting", b"{")
    yield Http("trace unknown", "/v2/trace/setting", b'{"nope": "1"}')
    yield Http("trace bad level", "/v2/trace/setting", b'{"trace_level": ["NOPE"]}')
    yield Http("trace bad rate", "/v2/trace/setting", b'{"trace_rate": "x"}')
    yield Http("logging garbage", "/v2/logging", b"{")
    yield Http("logging unknown", "/v2/logging", b'{"nope": 1}')
    yield Http("logging verbose", "/v2/logging", b'{"log_verbose_level": 1}')
    yield Http("logging back", "/v2/logging", b'{"log_verbose_level": 0}')
    yield Http("shared memory register", "/v2/systemsharedmemory/region/a/register", b'{"key": "/a", "byte_size": 4}')
    yield Http("shared memory unregister", "/v2/systemsharedmemory/region/a/unregister", b"")
