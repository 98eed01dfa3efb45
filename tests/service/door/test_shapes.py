"""Requests in shapes that proxies and servers read differently: refused, or understood in the one way there is."""

import orjson
import pytest

from service.limit_settings import DEFAULT_LIMITS
from tests.service.door.serving import door

POST = b"POST /first HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n"

REFUSED = {
    "length and chunks": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 0\r\ncontent-length: 33\r\n\r\n",
    "the same length twice": POST + b"content-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    "a list of lengths": POST + b"content-length: 4, 4\r\n\r\nabcd",
    "a signed length": POST + b"content-length: +4\r\n\r\nabcd",
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a length beyond 64 bits": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "a length in hex": POST + b"content-length: 0x4\r\n\r\nabcd",
    "another encoding": POST + b"transfer-encoding: gzip\r\n\r\nabcd",
    "chunked, but not last": POST + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "nearly chunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"a: b\r\n c\r\n\r\n",
    "a bare LF behind a header": POST + b"a: b\n\r\n",
    "bare LF everywhere": b"GET /first HTTP/1.1\nhost: x\n\n",
    "a bare CR in a value": POST + b"a: b\rc\r\n\r\n",
    "NUL in a value": POST + b"a: b\0c\r\n\r\n",
    "NUL in a name": POST + b"a\0b: c\r\n\r\n",
    "a space behind a name": POST + b"content-length : 4\r\n\r\nabcd",
    "a space in a name": POST + b"content length: 4\r\n\r\nabcd",
    "a space before the first name": b"GET /first HTTP/1.1\r\n host: x\r\n\r\n",
    "no name": POST + b": b\r\n\r\n",
    "a chunk size in C": CHUNKED + b"0x2\r\nxx\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nxx\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-2\r\nxx\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nxxGET\r\n0\r\n\r\n",
    "a bare LF behind a chunk size": CHUNKED + b"2\nxx\r\n0\r\n\r\n",
    "a bare LF in a chunk extension": CHUNKED + b"2;\nxx\r\n0\r\n\r\n",
    "a length in a trailer": CHUNKED + b"2\r\nxx\r\n0\r\ncontent-length: 33\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0": b"GET /first HTTP/2.0\r\nhost: x\r\n\r\n",
    "HTTP/0.9": b"GET /first\r\n\r\n",
    "HTTP/1.2": b"GET /first HTTP/1.2\r\nhost: x\r\n\r\n",
    "no version of HTTP": b"GET /first HTTP/x\r\nhost: x\r\n\r\n",
    "TLS's first bytes": bytes.fromhex("16030102000100"),
    "a control character in the URL": b"GET /a\x01b HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes above ASCII in the URL": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "an absolute URL without a path": b"GET http://a HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    "another protocol with a body": POST + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 33\r\n\r\n",
    "noise": bytes(range(1, 256)) * 8,
}

UNDERSTOOD = {
    "a chunk extension": CHUNKED + b"2;a=b\r\nxx\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"2\r\nxx\r\n0\r\nauthorization: me\r\n\r\n",
    "an absolute URL": b"POST http://a/first HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nxx",
    "HTTP/1.0": b"POST /first HTTP/1.0\r\ncontent-length: 2\r\n\r\nxx",
    "a tab before a value": POST + b"content-length:\t2\r\n\r\nxx",
    "an empty line before": b"\r\n" + POST + b"content-length: 2\r\n\r\nxx",
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
async def test_what_could_be_read_in_two_ways_is_refused(request_: bytes) -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        status, headers, body = await caller.ask(request_ + HIDDEN)
        assert status == 400
        assert headers["connection"] == "close"
        assert orjson.loads(body)["error"]
        assert await caller.rest() == b""
    assert served.app.asked == []


@pytest.mark.parametrize("request_", UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
async def test_what_can_be_read_in_one_way_only_is_answered(request_: bytes) -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        status, _, body = await caller.ask(request_)
        assert (status, body) == (200, b"POST /first xx")
        assert b"authorization" not in dict(served.app.headers)


async def test_an_offer_to_speak_another_protocol_is_passed_over() -> None:
    """And what follows on the connection is the next request, not part of the other protocol."""
    offer = b"GET /first HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n"
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(offer * 3 + b"GET /last HTTP/1.1\r\nhost: x\r\n\r\n")
        answers = [(await caller.answer())[2] for _ in range(4)]
        assert answers == [b"GET /first "] * 3 + [b"GET /last "]


async def test_noise_behind_a_request_does_not_touch_its_answer() -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n" + b"\0noise")
        await served.app.begun.acquire()
        served.app.hold.set()
        assert (await caller.answer())[2] == b"GET /held "
        assert (await caller.answer())[0] == 400
        assert await caller.rest() == b""


async def test_a_bad_chunk_ends_the_request_it_is_in() -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        await caller.send(CHUNKED + b"2\r\nxx\r\n")
        await served.app.begun.acquire()
        status, headers, _ = await caller.ask(b"not a size\r\n")
        assert (status, headers["connection"]) == (400, "close")
        assert await caller.rest() == b""
    assert served.app.asked == []
    assert served.app.left == ["/first"]


async def test_errors_have_the_shape_that_callers_of_the_path_expect() -> None:
    async with door(DEFAULT_LIMITS) as served:
        caller = await served.connect()
        _, headers, body = await caller.ask(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n")
    assert orjson.loads(body)["error"]["type"] == "invalid_request_error"
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
