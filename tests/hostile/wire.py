"""Bytes that are no HTTP, or HTTP that proxies and servers could read differently."""

from collections.abc import Iterator

from tests.hostile.cases import REFUSED, Case, Raw
from tests.hostile.rest_binary import GOOD

_HEAD = b"POST /v2/models/identity/infer HTTP/1.1\r\nhost: x\r\n"
_SIZE = b"content-length: %d\r\n" % len(GOOD)


def cases() -> Iterator[Case]:
    """All of them: each is refused, or the connection is closed without a word."""
    requests = {
        "length and chunks": _HEAD + _SIZE + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n" + GOOD,
        "two lengths": _HEAD + _SIZE + b"content-length: 1\r\n\r\n" + GOOD,
        "a length of two numbers": _HEAD + b"content-length: 5, 5\r\n\r\n" + GOOD,
        "a negative length": _HEAD + b"content-length: -5\r\n\r\n" + GOOD,
        "a length with a sign": _HEAD + b"content-length: +5\r\n\r\n" + GOOD,
        "a length of 2^64": _HEAD + b"content-length: 18446744073709551616\r\n\r\n" + GOOD,
        "a length in hexadecimal": _HEAD + b"content-length: 0x5\r\n\r\n" + GOOD,
        "chunks named twice": _HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "an encoding nobody knows": _HEAD + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "a space before the colon": _HEAD + b"content-length : 5\r\n\r\n" + GOOD,
        "a folded header": _HEAD + b"x-a: 1\r\n 2\r\n" + _SIZE + b"\r\n" + GOOD,
        "a chunk of letters": _HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + GOOD,
        "a chunk of 2^64": _HEAD + b"transfer-encoding: chunked\r\n\r\n10000000000000000\r\n" + GOOD,
        "a negative chunk": _HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n" + GOOD,
        "NUL in a header": _HEAD + b"x-a: a\0b\r\n" + _SIZE + b"\r\n" + GOOD,
        "NUL in the path": b"GET /v2/\0 HTTP/1.1\r\nhost: x\r\n\r\n",
        "CR alone": b"GET /v2 HTTP/1.1\rhost: x\r\r",
        "a header without a name": b"GET /v2 HTTP/1.1\r\nhost: x\r\n: x\r\n\r\n",
        "HTTP/9.9": b"GET /v2 HTTP/9.9\r\nhost: x\r\n\r\n",
        "HTTP/2 by heart": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
        "a Redis command": b"*1\r\n$4\r\nPING\r\n",
        "a method of 10,000 letters": b"A" * 10_000 + b" / HTTP/1.1\r\nhost: x\r\n\r\n",
        "a path of 100,000 letters": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        "a header of 100,000 letters": b"GET /v2 HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 100_000 + b"\r\n\r\n",
        "10,000 headers": b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"x-a: b\r\n" * 10_000 + b"\r\n",
        "CONNECT": b"CONNECT 10.0.0.1:22 HTTP/1.1\r\nhost: 10.0.0.1:22\r\n\r\n",
        "noise": bytes(range(256)) * 40,
        "NULs": bytes(10_000),
    }
    for name, content in requests.items():
        yield Case(f"wire: {name}", Raw(content, ends=True), [*REFUSED, "closed"])
    cut = {
        "cut in the head": _HEAD,
        "cut in the body": _HEAD + _SIZE + b"\r\n" + GOOD[:-10],
        "cut in a chunk": _HEAD + b"transfer-encoding: chunked\r\n\r\n50\r\n" + GOOD[:10],
        "nothing at all": b"",
        "an empty line": b"\r\n",
    }
    for name, content in cut.items():
        yield Case(f"wire: {name}", Raw(content, ends=True), [*REFUSED, "closed"])
