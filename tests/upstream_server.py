"""A small server with the OpenAI API, in plain asyncio, that misbehaves on demand; run as a process of its own.

The last message, or the prompt, says what it does: `name` or `name: argument` of a function in SCRIPTS; any other text
is answered with itself. GET /state tells what it saw, /reset forgets it. It prints its port once it listens.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

EVENT = "text/event-stream"
ENDLESS = 64 * 2**20
"""Bytes of `flood`, many times what sockets hold."""
PIECE = "x" * 4096
TEXT = "Grüße, 世界 👩‍🚀!"


@dataclass
class State:
    """What the server saw. `blocked`: it waits for the reader of `flood`. `sent`: bytes of `flood` so far."""

    requests: int = 0
    connections: int = 0
    open: int = 0
    running: int = 0
    disconnects: int = 0
    sent: int = 0
    blocked: bool = False
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


class Answer:
    """One response on its way. `number`: how many its connection had before."""

    def __init__(self, writer: asyncio.StreamWriter, state: State, body: dict[str, Any], number: int) -> None:
        self.writer = writer
        self.state = state
        self.body = body
        self.number = number
        self.chat = "messages" in body

    async def start(self, status: str = "200 OK", kind: str = EVENT, headers: Mapping[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self.writer.drain()

    async def raw(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def json(self, value: object) -> None:
        await self.raw(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())

    async def choices(self, *choices: dict[str, Any]) -> None:
        await self.json({"id": "1", "object": "chunk", "choices": list(choices), "usage": None})

    async def text(self, text: str, index: int = 0, finish: str | None = None) -> None:
        said = {"delta": {"content": text}} if self.chat else {"text": text}
        await self.choices({"index": index, "finish_reason": finish, **said})

    async def usage(self, **more: object) -> None:
        counts = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        await self.json({"id": "1", "object": "chunk", "choices": [], "usage": counts | more})

    async def end(self) -> None:
        await self.raw(b"data: [DONE]\n\n")
        await self.last()

    async def last(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def refuse(self, status: str, body: object, headers: Mapping[str, str] | None = None) -> None:
        await self.start(status, "application/json", headers)
        await self.raw(body if isinstance(body, bytes) else json.dumps(body).encode())
        await self.last()


Script = Callable[[Answer, str], Awaitable[None]]


async def echo(answer: Answer, text: str) -> None:
    """The prompt's words, one a chunk, for each of the answers that are asked for."""
    await answer.start()
    if answer.chat:
        await answer.choices({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
    prompts = [text] if answer.chat else answer.body["prompt"]
    prompts = prompts if isinstance(prompts, list) and isinstance(prompts[0], str | list) else [prompts]
    n = answer.body.get("n", 1)
    for index in range(len(prompts) * n):
        for word in str(prompts[index // n]).split(" "):
            await answer.text(f"{word} ", index)
        await answer.text("", index, "stop")
    await answer.usage()
    await answer.end()


async def bytes_apart(answer: Answer, _: str) -> None:
    """Every byte in a segment of its own, CRLF, a heartbeat, and non-ASCII text."""
    await answer.start()
    chunk = {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    lines = [": heartbeat", "", "event: message", f"data: {json.dumps(chunk, ensure_ascii=False)}", "", ":", ""]
    lines += [f"data: {json.dumps(last)}", "", "data: [DONE]", "", ""]
    for byte in "\r\n".join(lines).encode():
        await answer.raw(bytes([byte]))
    await answer.last()


async def rich(answer: Answer, _: str) -> None:
    """Reasoning under both its names, a tool call in pieces, a second one, details of the usage."""
    await answer.start()
    for delta in (
        {"role": "assistant", "reasoning_content": "hm"},
        {"reasoning": "..."},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "pay", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"eur":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "5}"}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "ask", "arguments": "{}"}}]},
    ):
        await answer.choices({"index": 0, "delta": delta, "finish_reason": None})
    await answer.choices({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    await answer.usage(
        prompt_tokens_details={"cached_tokens": 4}, completion_tokens_details={"reasoning_tokens": 2, "audio": None}
    )
    await answer.end()


async def logprobs(answer: Answer, _: str) -> None:
    """Two tokens with logprobs, in the form that the path has; no usage."""
    await answer.start()
    pairs = [("Hi", -0.25), ("\ufffd", -1.5)]
    if answer.chat:
        content = [
            {
                "token": token,
                "logprob": value,
                "bytes": list(b"Hi" if token == "Hi" else b"\xe4"),
                "top_logprobs": [{"token": token, "logprob": value, "bytes": None}, {"token": "a", "logprob": -3.0}],
            }
            for token, value in pairs
        ]
        await answer.choices({"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": content}})
    else:
        found = {
            "tokens": [token for token, _ in pairs],
            "token_logprobs": [None, -1.5],
            "top_logprobs": [None, {"a": -3.0, "\ufffd": -1.5}],
            "text_offset": [0, 2],
        }
        await answer.choices({"index": 0, "text": "Hi", "logprobs": found})
    await answer.text("", finish="stop")
    await answer.end()


async def finish(answer: Answer, reason: str) -> None:
    """One word, ended for that reason."""
    await answer.start()
    await answer.text("word", finish=reason)
    await answer.end()


async def only_first(answer: Answer, _: str) -> None:
    """Answers where it is the first request of its connection, else closes: as llama.cpp does, to who is quick."""
    if answer.number:
        raise ConnectionAbortedError
    await answer.start()
    await answer.text("word", finish="stop")
    await answer.end()


async def no_done(answer: Answer, _: str) -> None:
    """Ends properly, but for `[DONE]`."""
    await answer.start()
    await answer.text("word", finish="stop")
    await answer.last()


async def cut(answer: Answer, how: str) -> None:
    """Stops in the middle: by closing the connection, by ending the response, or with `[DONE]`."""
    await answer.start()
    await answer.text("half ")
    if how == "done":
        await answer.end()
    elif how == "end":
        await answer.last()
    else:
        raise ConnectionAbortedError


async def bad_event(answer: Answer, data: str) -> None:
    """A good chunk, then that data."""
    await answer.start()
    await answer.text("half ")
    await answer.raw(f"data: {data}\n\n".encode())
    await answer.end()


async def refused(answer: Answer, status: str) -> None:
    """That status, with OpenAI's error; the message repeats the key, as a careless server would."""
    key = answer.state.headers.get("authorization", "")
    error = {"message": f"it is {status} for <{key}>", "type": "x", "code": None}
    await answer.refuse(f"{status} No", {"error": error})


async def refused_with(answer: Answer, body: str) -> None:
    """Status 400 with that body."""
    await answer.refuse("400 Bad Request", body.encode())


async def busy(answer: Answer, header: str) -> None:
    """429 (503 where the argument starts with it) with a header."""
    status, _, header = header.rpartition(" / ")
    name, _, value = header.partition("=")
    await answer.refuse(f"{status or 429} Busy", {"error": "full"}, {name: value} if name else None)


async def plain(answer: Answer, _: str) -> None:
    """200, but no stream."""
    await answer.refuse("200 OK", {"choices": []})


async def vanish(answer: Answer, _: str) -> None:
    """Closes without a word."""
    raise ConnectionAbortedError


async def hang(answer: Answer, when: str) -> None:
    """Goes silent, before its headers or in the middle, until the caller leaves."""
    if when == "middle":
        await answer.start()
        await answer.text("half ")
    await asyncio.Event().wait()


async def flood(answer: Answer, _: str) -> None:
    """Many large chunks, as fast as they are read."""
    await answer.start()
    state = answer.state
    while state.sent < ENDLESS:
        state.blocked = True
        await answer.text(PIECE)
        state.blocked = False
        state.sent += len(PIECE)
    await answer.text("", finish="stop")
    await answer.end()


async def trickle(answer: Answer, _: str) -> None:
    """Words without an end, a few at a time."""
    await answer.start()
    while True:
        await answer.text("word ")
        await asyncio.sleep(0.001)


async def long_line(answer: Answer, _: str) -> None:
    """A line that never ends."""
    await answer.start()
    while True:
        await answer.raw(b"data: " + b"x" * 2**20)


SCRIPTS: Mapping[str, Script] = {
    script.__name__: script
    for script in (
        only_first, bytes_apart, rich, logprobs, finish, no_done, cut, bad_event, refused, refused_with, busy, plain,
        vanish, hang, flood, trickle, long_line,
    )
}  # fmt: skip


class Server:
    """Serves connections one request after the other, and notices when a caller leaves."""

    def __init__(self) -> None:
        self.state = State()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.state.connections += 1
        self.state.open += 1
        early, number = b"", 0
        try:
            while line := early + await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = await _headers(reader)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                answer = Answer(writer, self.state, body, number)
                if method == "GET":
                    await self._get(answer, path)
                else:
                    self.state.path, self.state.headers, self.state.body = path, headers, body
                    early = await self._post(answer, reader)
                number += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.state.open -= 1
            writer.transport.abort()

    async def _post(self, answer: Answer, reader: asyncio.StreamReader) -> bytes:
        state = self.state
        state.requests += 1
        script, argument = _script(answer.body)
        state.running += 1
        try:
            return await _until_gone(script(answer, argument), reader)
        except (ConnectionResetError, BrokenPipeError):
            state.disconnects += 1
            raise
        finally:
            state.running -= 1

    async def _get(self, answer: Answer, path: str) -> None:
        if path == "/reset":
            self.state.__dict__.update(State(open=self.state.open, running=self.state.running).__dict__)
        if path in ("/state", "/reset"):
            await answer.refuse("200 OK", asdict(self.state))
        elif path == "/v1/models":
            models = [{"id": name, "object": "model", "owned_by": "tests"} for name in ("tiny", "other")]
            await answer.refuse("200 OK", {"object": "list", "data": models})
        elif path == "/locked/models":
            await answer.refuse("401 No", {"error": {"message": "no key"}})
        elif path == "/odd/models":
            await answer.refuse("200 OK", b"<html>")
        else:
            await answer.refuse("404 Not Found", {"detail": "Not Found"})


async def _until_gone(answering: Awaitable[None], reader: asyncio.StreamReader) -> bytes:
    """Runs a script until the caller closes its end; gives what came of the next request meanwhile."""
    gone = asyncio.ensure_future(reader.read(1))
    task = asyncio.ensure_future(answering)
    try:
        await asyncio.wait({gone, task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and not gone.result():
            raise ConnectionResetError
        await task
        return gone.result() if gone.done() else b""
    finally:
        for pending in (gone, task):
            pending.cancel()
        await asyncio.gather(gone, task, return_exceptions=True)


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers = {}
    while (line := (await reader.readline()).decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _script(body: dict[str, Any]) -> tuple[Script, str]:
    text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    name, _, argument = str(text).partition(": ")
    return (SCRIPTS[name], argument) if name in SCRIPTS else (echo, str(text))


async def main() -> None:
    """Listens on a free port of the loopback; the parent's end of standard input keeps it alive."""
    server = Server()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    listening = await asyncio.start_server(server.connected, sock=listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    listening.close()


if __name__ == "__main__":
    asyncio.run(main())
