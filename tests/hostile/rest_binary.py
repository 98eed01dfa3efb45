"""Binary tensors, compressed bodies and paths of REST."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from tests.hostile.cases import EITHER, REFUSED, Case, Http, document
from tests.hostile.rest import INFER, tensor

LENGTH = "inference-header-content-length"
GOOD = document({"inputs": [tensor()]})


def binary(name: str, tail: bytes, statuses: range = REFUSED, length: str = "", **changes: Any) -> Case:
    """A binary request of one FP32 input of two numbers, with some of its fields changed."""
    given = {"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}} | changes
    head = document({"inputs": [given]})
    return Case(f"binary: {name}", Http(INFER, head + tail, {LENGTH: length or str(len(head))}), statuses)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _sizes()
    yield from _compressed()
    yield from _paths()
    yield from _headers()


def _sizes() -> Iterator[Case]:
    eight = bytes(8)
    yield binary("one byte less", eight[1:])
    yield binary("one byte more", eight + b"x")
    yield binary("none of it", b"")
    yield binary("10 MB more", bytes(10_000_000))
    for size in (-1, -8, 2**31, 2**63, 2**64, 10**400, 8.5, "8", True, None, [8]):
        yield binary(f"binary_data_size {str(size)[:30]}", eight, parameters={"binary_data_size": size})
    for shape in ([2**61], [2**62, 4], [-1, 2], [0, 2**62], [2**31, 2**31], [1] * 40):
        yield binary(f"shape {str(shape)[:30]}", eight, shape=shape)
    for length in ("0", "1", "-1", "+5", " 5", "0x10", "1e2", "5.0", "4" * 1000, "NaN", "٣", "18446744073709551617"):
        raw = EITHER if length == "0" else REFUSED
        yield binary(f"length {length[:20]}", eight, raw, length)
    texts = {
        "longer than the body": struct.pack("<I", 2**32 - 1) + b"abcd",
        "negative if signed": struct.pack("<i", -1) + b"abcd",
        "cut in its length": b"\x01\x00",
        "empty for one element": b"",
    }
    for name, tail in texts.items():
        size = {"binary_data_size": len(tail)}
        yield binary(f"a text {name}", tail, datatype="BYTES", shape=[1, 1], parameters=size)
    nan = struct.pack("<ff", float("nan"), float("-inf"))
    yield binary("NaN and Infinity, answered as JSON", nan, EITHER)


def _compressed() -> Iterator[Case]:
    zeros = bytes(100_000_000)
    twice = gzip.compress(gzip.compress(zeros[:10_000_000]))
    bodies: dict[str, tuple[str, bytes, str]] = {
        "gzip bomb": ("gzip", gzip.compress(zeros), "inflates to more"),
        "deflate bomb": ("deflate", zlib.compress(zeros), "inflates to more"),
        "gzip in gzip": ("gzip", twice, ""),
        "many members": ("gzip", gzip.compress(b" " * 1000) * 20_000, ""),
        "cut": ("gzip", gzip.compress(GOOD)[:-4], "ends too early"),
        "nothing": ("gzip", b"", ""),
        "wrong sum": ("gzip", gzip.compress(GOOD)[:-8] + bytes(8), ""),
        "twice named": ("gzip, gzip", twice, "not served"),
        "brotli": ("br", b"\x1b\x03\x00", "not served"),
        "zstd": ("zstd", b"\x28\xb5\x2f\xfd", "not served"),
        "an unknown one": ("x" * 2000, GOOD, "not served"),
        "a raw stream": ("deflate", b"\x03\x00\x03\x00", ""),
    }
    for name, (encoding, body, words) in bodies.items():
        yield Case(f"compressed: {name}", Http(INFER, body, {"content-encoding": encoding}), REFUSED, words)


def _paths() -> Iterator[Case]:
    paths = {
        "encoded dots": "/v2/models/%2e%2e/infer",
        "encoded slashes": "/v2/models/..%2f..%2fetc%2fpasswd/infer",
        "dots": "/v2/models/../../etc/passwd",
        "twice encoded": "/v2/models/%252e%252e%252fidentity/infer",
        "NUL": "/v2/models/identity%00.pbtxt/infer",
        "CR LF": "/v2/models/a%0d%0ax-evil:%201/infer",
        "not UTF-8": "/v2/models/%ff%fe/infer",
        "backslashes": "/v2/models/..%5c..%5cidentity/infer",
        "a broken escape": "/v2/models/%zz/infer",
        "a long name": f"/v2/models/{'n' * 7000}/infer",
        "a confusable": "/v2/models/%D1%96dentity/infer",
        "doubled slashes": "//v2//models//identity//infer",
        "a template": "/v2/models/%7B%7B7*7%7D%7D/infer",
        "version ..": "/v2/models/identity/versions/../infer",
        "version -1": "/v2/models/identity/versions/-1/infer",
        "version of 100 digits": f"/v2/models/identity/versions/{'9' * 100}/infer",
        "version in Arabic": "/v2/models/identity/versions/%D9%A1/infer",
        "a query of control": "/v2/models/nope/infer?x=%0d%0a%00",
    }
    for name, path in paths.items():
        yield Case(f"path: {name}", Http(path, GOOD), REFUSED)
        yield Case(f"path, read: {name}", Http(path.removesuffix("/infer"), method="GET"), REFUSED)
    yield Case("path: a model of OpenAI's list", Http("/v1/models/..%2f..%2fetc%2fpasswd", method="GET"), REFUSED)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        yield Case(f"method: {method}", Http(INFER, GOOD, method=method), REFUSED)


def _headers() -> Iterator[Case]:
    headers = {
        "x-request-id of markup": ("x-request-id", "<script>", EITHER),
        "x-request-id of 5,000 letters": ("x-request-id", "i" * 5000, EITHER),
        "x-request-id of escapes": ("x-request-id", "\x1b[2J", EITHER),
        "traceparent of zeros": ("traceparent", f"00-{'0' * 32}-{'0' * 16}-00", EITHER),
        "traceparent of letters": ("traceparent", "z" * 55, EITHER),
        "a deadline of 10^30": ("x-deadline-ms", "1" + "0" * 30, EITHER),
        "a deadline in Arabic": ("x-deadline-ms", "\u0661\u0662", REFUSED),
        "a variant of dots": ("x-variant", "../../x", REFUSED),
        "priority of letters": ("x-priority", "first", EITHER),
        "accept of bombs": ("accept", ",".join(["text/*;q=0.1"] * 500), EITHER),
        "accept-encoding of zeros": ("accept-encoding", "gzip;q=0, *;q=NaN, identity;q=-1", EITHER),
        "a forged host": ("x-forwarded-host", "evil.example", EITHER),
        "a cookie": ("cookie", "session=" + "a" * 4000, EITHER),
        "cache-control of commas": ("cache-control", "no-store," * 500, EITHER),
        "a content-type of nothing": ("content-type", "application/x-python-pickle", EITHER),
    }
    for name, (header, value, statuses) in headers.items():
        yield Case(f"header: {name}", Http(INFER, GOOD, {header: value}), statuses)
