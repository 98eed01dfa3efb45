"""The Open Inference Protocol over REST: JSON, names and parameters."""

from collections.abc import Iterator
from typing import Any

from tests.hostile.cases import EITHER, GIVEN, REFUSED, Case, Http, document, nested

INFER = "/v2/models/identity/infer"
HUGE = 10**400
NAMES = {
    "CR LF": "a\r\nx-evil: 1",
    "NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "right to left": "\u202eidentity",
    "a confusable": "іdentity",
    "a terminal's escapes": "\x1b[2J\x1b]0;owned\x07",
    "a log line": '"}\n{"level":"error","message":"forged"}',
    "a megabyte": "n" * 1_000_000,
    "markup": "<script>alert(1)</script>",
    "a format": "%s%n%x{0.__class__}${jndi:ldap://x/y}",
    "a template": "{{ 7*7 }}{% for x in range(9**9) %}{% endfor %}",
}


def tensor(**changes: Any) -> dict[str, Any]:
    """The input of identity, one row of two numbers."""
    return {"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]} | changes


def infer(name: str, words: str = "", statuses: range = REFUSED, **changes: Any) -> Case:
    """A request to identity with some of its fields changed."""
    return Case(f"rest: {name}", Http(INFER, document({"inputs": [tensor()]} | changes)), statuses, words)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _bodies()
    yield from _shapes()
    yield from _values()
    yield from _names()
    yield from _parameters()
    yield from _outputs()
    yield from _texts()


def _bodies() -> Iterator[Case]:
    good = document({"inputs": [tensor()]})
    bodies: dict[str, tuple[bytes, range]] = {
        "NULs": (bytes(1000), REFUSED),
        "a byte order mark": (b"\xef\xbb\xbf" + good, REFUSED),
        "UTF-16": (good.decode().encode("utf-16"), REFUSED),
        "overlong UTF-8": (good.replace(b"INPUT0", b"INPUT\xc0\xb0"), REFUSED),
        "cut short": (good[:-5], REFUSED),
        "pickled": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x93.", REFUSED),
        "XML with entities": (b'<!DOCTYPE x [<!ENTITY a "&b;&b;">]><x>&a;</x>', REFUSED),
        "YAML": (b"!!python/object/apply:os.system ['true']", REFUSED),
        "form data": (b"inputs=1&inputs=2", REFUSED),
        "all keys twice": (good[:-1] + b"," + good[1:], EITHER),
        "inputs twice, the second bad": (good[:-1] + b',"inputs":5}', REFUSED),
        "100,000 unknown fields": (document({"inputs": [tensor()]} | {f"k{n}": n for n in range(100_000)}), EITHER),
        "100,000 inputs": (document({"inputs": [tensor()] * 100_000}), REFUSED),
        "objects 100,000 deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, REFUSED),
        "a parameter 100,000 deep": (good[:-1] + b',"parameters":{"a":' + nested(100_000) + b"}}", REFUSED),
        "data 100,000 deep": (good.replace(b"[1.0, 2.0]", nested(100_000, "1")), REFUSED),
        "an unknown field 100,000 deep": (good[:-1] + b',"x":' + nested(100_000) + b"}", REFUSED),
        "a number of 100,000 digits": (good.replace(b"1.0,", b"1" * 100_000 + b","), REFUSED),
        "an exponent of 100,000 digits": (good.replace(b"1.0,", b"1e" + b"9" * 100_000 + b","), REFUSED),
        "a fraction of 100,000 digits": (good.replace(b"1.0,", b"0." + b"3" * 100_000 + b","), EITHER),
        "a string of 2 MB": (good[:-1] + b',"id":"' + b"x" * 2_000_000 + b'"}', EITHER),
        "NaN written out": (good.replace(b"1.0", b"NaN"), EITHER),
        "-Infinity written out": (good.replace(b"1.0", b"-Infinity"), EITHER),
        "hexadecimal": (good.replace(b"1.0", b"0x10"), REFUSED),
        "a leading zero": (good.replace(b"1.0", b"01"), REFUSED),
        "a comment": (b"/* x */" + good, REFUSED),
        "a trailing comma": (good.replace(b"2.0]", b"2.0,]"), REFUSED),
        "__proto__": (good[:-1] + b',"__proto__":{"a":1},"constructor":{}}', EITHER),
    }
    for name, (body, statuses) in bodies.items():
        yield Case(f"rest: body, {name}", Http(INFER, body), statuses)


def _shapes() -> Iterator[Case]:
    shapes: dict[str, Any] = {
        "2^31 squared": [2**31, 2**31],
        "2^32 to the fourth": [2**32] * 4,
        "a product of 2^64, which is 0 in 64 bits": [2**32, 2**32, 1],
        "a product of 2^64 + 2": [2, 2**63 + 1],
        "10^400": [HUGE, 1],
        "-2^63": [-(2**63), 2],
        "minus both": [-1, -2],
        "a billion dimensions of 1": [1] * 100_000,
        "true": [True, 2],
        "2.0": [1.0, 2],
        "text": ["1", "2"],
        "null": None,
        "an object": {"0": 1, "1": 2},
        "nested": [[1, 2]],
        "empty": [],
        "0": [0, 2],
    }
    for name, shape in shapes.items():
        yield infer(f"shape, {name}", inputs=[tensor(shape=shape)])
    rows = [[0.0, 0.0]] * 1000
    yield infer("1,000 rows where 64 are the most", "64", inputs=[tensor(shape=[1000, 2], data=rows)])


def _values() -> Iterator[Case]:
    yield infer("value, null", inputs=[tensor(data=[None, 1])])
    yield infer("value, an object", inputs=[tensor(data=[{}, 1])])
    yield infer("value, 10^400", inputs=[tensor(data=[HUGE, 1])])
    yield infer("value, text", inputs=[tensor(data=["1", "2"])])
    yield infer("data is text", inputs=[tensor(data="12")])
    yield infer("data is a number", inputs=[tensor(data=HUGE)])
    yield infer("a number too many", "data has 3", inputs=[tensor(data=[1, 2, 3])])
    for datatype in (
        "FP64",
        "INT8",
        "BYTES",
        "BF16",
        "fp32",
        "FP32 ",
        "",
        "object",
        "O",
        "__class__",
        None,
        5,
        ["FP32"],
    ):
        yield infer(f"datatype {datatype!r}", inputs=[tensor(datatype=datatype)])
    yield infer("NaN and Infinity", statuses=EITHER, inputs=[tensor(data=[float("nan"), float("inf")])])
    yield infer("the smallest number", statuses=GIVEN, inputs=[tensor(data=[5e-324, -0.0])])


def _names() -> Iterator[Case]:
    for kind, name in NAMES.items():
        yield infer(f"input named like {kind}", inputs=[tensor(name=name)])
        yield infer(f"output named like {kind}", outputs=[{"name": name}])
        yield infer(f"id like {kind}", statuses=EITHER, id=name)
        yield infer(f"parameter named like {kind}", statuses=EITHER, parameters={name: 1})


def _parameters() -> Iterator[Case]:
    parameters: dict[str, Any] = {
        "timeout NaN": {"timeout": float("nan")},
        "timeout of 2^63 - 1": {"timeout": 2**63 - 1},
        "timeout of -2^63": {"timeout": -(2**63)},
        "priority of 2^64": {"priority": 2**64},
        "priority of 2^63 - 1": {"priority": 2**63 - 1},
        "sequence of 2^64": {"sequence_id": 2**64, "sequence_start": True},
        "sequence of a model without": {"sequence_id": 1, "sequence_start": True},
        "end of a sequence nobody began": {"sequence_id": 7, "sequence_end": True},
        "all of triton_": {"triton_enable_empty_final_response": "yes", "triton_x": 1},
        "min_quality Infinity": {"min_quality": float("inf")},
        "a list": [],
        "text": "timeout=1",
        "values nested": {"a": {"b": {"c": []}}},
        "values of 1 MB": {"a": "x" * 1_000_000},
        "10,000 of them": {f"p{number}": number for number in range(10_000)},
        "delay of the engine": {"batchyard.identity.delay_ms": 1e9},
        "headers": {"header_x-api-key": "stolen"},
    }
    for name, value in parameters.items():
        yield infer(f"parameters, {name}", statuses=EITHER, parameters=value)


def _outputs() -> Iterator[Case]:
    one = {"name": "OUTPUT0"}
    outputs: dict[str, Any] = {
        "10,000 of them": [one] * 10_000,
        "no list": "OUTPUT0",
        "null": [None],
        "classes of 2^63": [one | {"parameters": {"classification": 2**63}}],
        "classes of -1": [one | {"parameters": {"classification": -1}}],
        "classes NaN": [one | {"parameters": {"classification": float("nan")}}],
        "shared memory": [one | {"parameters": {"shared_memory_region": "../../dev/mem"}}],
        "an input's name": [{"name": "INPUT0"}],
    }
    for name, value in outputs.items():
        yield infer(f"outputs, {name}", outputs=value)
    yield infer("outputs, 2^31 classes", statuses=EITHER, outputs=[one | {"parameters": {"classification": 2**31}}])


def _texts() -> Iterator[Case]:
    for path in ("/v2/models/echo/generate", "/v2/models/echo/generate_stream"):
        bodies: dict[str, Any] = {
            "no text": {},
            "a list": ["x"],
            "text is a number": {"text_input": HUGE},
            "a lone surrogate": {"text_input": "\ud800"},
            "tokens of 2^63": {"text_input": "x", "max_tokens": 2**63},
            "tokens of -1": {"text_input": "x", "max_tokens": -1},
            "stream is text": {"text_input": "x", "stream": "yes"},
            "stop is a bomb": {"text_input": "x", "stop": ["s"] * 100_000},
            "temperature NaN": {"text_input": "x", "temperature": float("nan")},
            "5 MB of text": {"text_input": "a b " * 1_250_000, "max_tokens": 1},
        }
        for name, body in bodies.items():
            yield Case(f"rest: {path.rpartition('/')[2]}, {name}", Http(path, document(body)), REFUSED)
