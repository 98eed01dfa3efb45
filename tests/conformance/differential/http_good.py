"""HTTP requests that a server answers."""

import gzip
import json
import zlib
from collections.abc import Iterator

from tests.conformance.differential.exchange import Http
from tests.conformance.differential.tensors import VALUES, Tensor, binary_body, ints, json_body, strings

PAIR = (ints("INPUT0", 16), ints("INPUT1", 16, 3))
PAIRS = {
    "simple": PAIR,
    "simple_int8": (ints("INPUT0", 16, 0, "INT8"), ints("INPUT1", 16, 3, "INT8")),
    "simple_string": (strings("INPUT0", 16), strings("INPUT1", 16, 3)),
    "ensemble_simple": PAIR,
    "bls_simple": PAIR,
    "bls_async_simple": (ints("INPUT0", 16, 0, "INT8"), ints("INPUT1", 16, 3, "INT8")),
}


def infer(model: str) -> str:
    """The path of its inference."""
    return f"/v2/models/{model}/infer"


def good() -> Iterator[Http]:
    """All of them, in the order in which they are to be asked."""
    yield from _metadata()
    yield from _pairs()
    yield from _types()
    yield from _rest()
    yield from _bodies()
    yield from _parameters()
    yield from _sequences()


def _metadata() -> Iterator[Http]:
    for path in ("", "/health/live", "/health/ready", "/models/simple", "/models/simple/versions/1"):
        yield Http(f"get {path}", f"/v2{path}")
    for model in (
        "simple",
        "repeat_int32",
        "simple_sequence",
        "ensemble_simple",
        "identity_types",
        "optional_identity",
    ):
        for what in ("", "/ready", "/config", "/versions/1/ready", "/versions/1/config"):
            yield Http(f"get {model}{what}", f"/v2/models/{model}{what}")
    yield Http("index", "/v2/repository/index", b"")
    yield Http("index ready", "/v2/repository/index", b'{"ready": true}')
    yield Http("trace", "/v2/trace/setting")
    yield Http("trace of a model", "/v2/models/simple/trace/setting")
    yield Http("logging", "/v2/logging")
    yield Http("system shared memory", "/v2/systemsharedmemory/status")
    yield Http("cuda shared memory", "/v2/cudasharedmemory/status")


def _pairs() -> Iterator[Http]:
    for model, pair in PAIRS.items():
        inputs = [tensor.json() for tensor in pair]
        body, headers = binary_body(*pair)
        yield Http(f"{model} json", infer(model), json_body(*inputs))
        yield Http(f"{model} json with id", infer(model), json_body(*inputs, id="a-7"))
        yield Http(f"{model} version", f"/v2/models/{model}/versions/1/infer", json_body(*inputs))
        yield Http(f"{model} binary in", infer(model), body, headers)
        for names in (["OUTPUT0"], ["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]):
            for binary in (False, True):
                outputs = [{"name": name, "parameters": {"binary_data": binary}} for name in names]
                title = f"{model} {names} binary {binary}"
                yield Http(title, infer(model), json_body(*inputs, outputs=outputs))
        both, headers = binary_body(*pair, parameters={"binary_data_output": True})
        yield Http(f"{model} binary both", infer(model), both, headers)
        yield Http(f"{model} other order", infer(model), json_body(*reversed(inputs)))
        if model.startswith(("simple", "ensemble")) and "string" not in model:
            outputs = [{"name": "OUTPUT0", "parameters": {"classification": 3}}]
            yield Http(f"{model} classes", infer(model), json_body(*inputs, outputs=outputs))
    for rows in (1, 2, 5, 8):
        batch = (ints("INPUT0", 16, 0, "INT32", rows), ints("INPUT1", 16, 5, "INT32", rows))
        yield Http(f"simple of {rows} rows", infer("simple"), json_body(*[t.json() for t in batch]))
        body, headers = binary_body(*batch, parameters={"binary_data_output": True})
        yield Http(f"simple of {rows} rows binary", infer("simple"), body, headers)


def _types() -> Iterator[Http]:
    for datatype, values in VALUES.items():
        name = "STRING" if datatype == "BYTES" else datatype
        for count in (3, 1, 0):
            tensor = Tensor(f"INPUT_{name}", datatype, (count,), tuple(values[:count]))
            body, headers = binary_body(tensor, parameters={"binary_data_output": True})
            yield Http(f"type {datatype} of {count} binary", infer("identity_types"), body, headers)
            if datatype != "FP16":
                yield Http(f"type {datatype} of {count} json", infer("identity_types"), json_body(tensor.json()))
                yield Http(
                    f"type {datatype} of {count} json, binary out",
                    infer("identity_types"),
                    json_body(tensor.json(), parameters={"binary_data_output": True}),
                )


def _rest() -> Iterator[Http]:
    yield Http("nan and infinity", infer("nan_inf_output"), json_body(Tensor("INPUT0", "FP32", (1,), (1.0,)).json()))
    body, headers = binary_body(Tensor("INPUT0", "FP32", (1,), (1.0,)), parameters={"binary_data_output": True})
    yield Http("nan and infinity binary", infer("nan_inf_output"), body, headers)
    first, second = (Tensor(f"INPUT{i}", "FP32", (1, 1), (i + 0.5,)) for i in (0, 1))
    for title, given in (("first", [first]), ("second", [second]), ("both", [first, second])):
        yield Http(f"optional {title}", infer("optional_identity"), json_body(*[t.json() for t in given]))
    for words in (["a"], ["a", "b c", ""], ["\u4e2d\u6587"]):
        tensor = Tensor("INPUT0", "BYTES", (1, len(words)), tuple(words))
        yield Http(f"strings {words}", infer("simple_identity"), json_body(tensor.json()))
        body, headers = binary_body(tensor, parameters={"binary_data_output": True})
        yield Http(f"strings {words} binary", infer("simple_identity"), body, headers)
    large = ints("INPUT0", 4096, 0, "FP32")
    body, headers = binary_body(large, parameters={"binary_data_output": True})
    yield Http("large binary", infer("identity_fp32"), body, headers)
    empty = Tensor("INPUT0", "FP32", (1, 0), ())
    body, headers = binary_body(empty, parameters={"binary_data_output": True})
    yield Http("zero size", infer("identity_fp32"), json_body(empty.json()))
    yield Http("zero size binary", infer("identity_fp32"), body, headers)
    raw = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    yield Http("raw", infer("identity_uint8_nobatch"), bytes(range(20)), raw)
    yield Http("delay", infer("custom_identity_int32"), json_body(ints("INPUT0", 3).json()))


def _bodies() -> Iterator[Http]:
    body = json_body(*[tensor.json() for tensor in PAIR])
    binary, headers = binary_body(*PAIR)
    yield Http("gzip", infer("simple"), gzip.compress(body), {"Content-Encoding": "gzip"})
    yield Http("deflate", infer("simple"), zlib.compress(body), {"Content-Encoding": "deflate"})
    yield Http("gzip binary", infer("simple"), gzip.compress(binary), {**headers, "Content-Encoding": "gzip"})
    nested = [tensor.json(data=[list(tensor.values)]) for tensor in PAIR]
    yield Http("nested data", infer("simple"), json_body(*nested))
    yield Http("spaces", infer("simple"), json.dumps(json.loads(body), indent=4).encode())
    yield Http("unknown fields", infer("simple"), json_body(*[t.json(x=1) for t in PAIR], strange=[1, {"a": None}]))
    content = {"Content-Type": "text/plain"}
    yield Http("wrong content type", infer("simple"), body, content)


def _parameters() -> Iterator[Http]:
    one = ints("INPUT0", 1).json(shape=[1])
    asked = (
        {},
        {"text": "a", "number": 3, "flag": True, "real": 0.5},
        {"priority": 0, "timeout": 5_000_000},
        {"priority": 2},
        {"sequence_id": 9, "sequence_start": True, "sequence_end": False},
        {"sequence_id": "nine"},
    )
    for number, parameters in enumerate(asked):
        body = json_body(one, id=f"r{number}", parameters=parameters)
        yield Http(f"fields {number}", infer("request_fields"), body)
        body = json_body(one, parameters=parameters, outputs=[{"name": "FIELDS"}])
        yield Http(f"fields {number} output named", infer("request_fields"), body)


def step(value: int, id: int | str, *, start: bool = False, end: bool = False) -> bytes:
    """A step of a sequence."""
    said = {"sequence_id": id, "sequence_start": start, "sequence_end": end}
    return json_body(ints("INPUT", 1, value).json(), parameters=said)


def _sequences() -> Iterator[Http]:
    for model, ids in (
        ("simple_sequence", (5, 2**63)),
        ("simple_dyna_sequence", (7, 8)),
        ("simple_string_dyna_sequence", ("31", "32")),
        ("accumulate", (11, 12)),
    ):
        for number in range(4):
            for id in ids:
                body = step(number + 1, id, start=number == 0, end=number == 3)
                yield Http(f"{model} {id} step {number}", infer(model), body)
        yield Http(f"{model} {ids[0]} begun", infer(model), step(1, ids[0], start=True))
        yield Http(f"{model} {ids[0]} begun again", infer(model), step(10, ids[0], start=True))
        yield Http(f"{model} {ids[0]} goes on", infer(model), step(2, ids[0], end=True))
        yield Http(f"{model} alone", infer(model), step(8, ids[1], start=True, end=True))
