"""Streams of a real server over sockets: cut at random points, they leave nothing behind and harm nobody."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import serving

ROOT = Path(__file__).parents[2]
CLIENTS = 100
TEXT = "Wie geht's? 你好，世界 😀👩‍👩‍👧 Ünïcödé " * 2


KV_TOKENS = 4096
"""Of the language model here: its cache is full after a wave, so that what grows after it is a leak."""


@pytest.fixture(scope="module", params=["echo", "assistant"])
def model(request: pytest.FixtureRequest) -> str:
    if not any((ROOT / "model_repository" / request.param / "1").glob("[!.]*")):
        pytest.skip(f"model {request.param} is not built: run `batchyard build`")
    return str(request.param)


@pytest.fixture(scope="module")
def server(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "model_repository" / model, root / model, copy_function=os.link)
    config = root / model / "config.pbtxt"
    text = re.sub(r'(kv_cache_tokens" value \{ string_value: ")\d+', rf"\g<1>{KV_TOKENS}", config.read_text("utf-8"))
    config.unlink()
    window = f'parameters {{ key: "batchyard.generation.window" value {{ string_value: "{KV_TOKENS}" }} }}\n'
    config.write_text(text + window, "utf-8")
    with serving("--model-repository", str(root), "--routes", "{}", "--pipelines", "{}") as url:
        yield url


def numbers(url: str, model: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in family.samples:
            if sample.labels.get("model", model) == model:
                found[sample.name] = sample.value
    return found


def body(model: str, **changes: object) -> bytes:
    asked = {"model": model, "messages": [{"role": "user", "content": TEXT}], "stream": True, "temperature": 0}
    return json.dumps({**asked, "max_tokens": 40, **changes}).encode()


def ask(url: str, content: bytes) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((str(parts.hostname), int(parts.port or 80)), timeout=60)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def cut_after(url: str, content: bytes, size: int) -> None:
    """Reads so many bytes, or up to the end, then hangs up."""
    with ask(url, content) as connection:
        data = b""
        while size > 0 and not data.endswith(b"0\r\n\r\n") and (data := connection.recv(min(size, 500))):
            size -= len(data)


def whole(url: str, content: bytes) -> str:
    """The text of an answer, which must come to its end."""
    with ask(url, content) as connection:
        raw = b""
        while not raw.endswith(b"0\r\n\r\n") and (data := connection.recv(65536)):
            raw += data
            assert raw.startswith(b"HTTP/1.1 200"), raw
    assert b"data: [DONE]" in raw, raw[-300:]
    chunks = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def idle(url: str, model: str) -> dict[str, float]:
    """The numbers once nothing runs or waits; it must come to that within a few steps."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = numbers(url, model)
        if found["batchyard_running_answers"] == found["nv_inference_pending_request_count"] == 0:
            return found
        time.sleep(0.02)
    raise AssertionError(f"answers that nobody waits for are still there: {found}")


def engines() -> list[int]:
    """The processes of engines whose server has a repository of its own, as the one here."""
    children = subprocess.run(["pgrep", "-f", "engines.apart_child"], capture_output=True, text=True, check=False)
    found = []
    for child in map(int, children.stdout.split()):
        parent = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1]
        if b"--model-repository" in Path(f"/proc/{parent}/cmdline").read_bytes():
            found.append(child)
    return found


def engine_bytes() -> int:
    """Their memory."""
    pages = sum(int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) for process_id in engines())
    return pages * os.sysconf("SC_PAGESIZE")


def test_a_hundred_clients_cut_at_random_points(server: str, model: str) -> None:
    chance = random.Random(7)
    content = body(model)
    expected = whole(server, content)

    def client(cut: int | None) -> str | None:
        return whole(server, content) if cut is None else cut_after(server, content, cut)

    def wave() -> list[str | None]:
        cuts = [None if chance.random() < 1 / 4 else chance.randrange(0, 6000) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(client, cuts))
        assert [answer is None for answer in answers] == [cut is not None for cut in cuts]
        return answers

    wave()
    before, engine_before = idle(server, model), engine_bytes()
    answers = [answer for answer in wave() if answer is not None]
    after, engine_after = idle(server, model), engine_bytes()
    assert answers
    if model == "echo":  # a language model's rounding depends on how many answer at once, and so may a greedy answer
        assert set(answers) == {expected}
    assert after["process_resident_memory_bytes"] < before["process_resident_memory_bytes"] + 50e6
    assert engine_after < engine_before + 50e6
    assert after["process_open_fds"] <= before["process_open_fds"] + 5
    assert whole(server, content) == expected


def test_chunks_are_whole_characters(server: str, model: str) -> None:
    for temperature in (0, 1.5):
        text = whole(server, body(model, temperature=temperature, seed=3, max_tokens=100))
        if model == "echo":
            assert text.rstrip("�") == TEXT[: len(text.rstrip("�"))]
        assert "�" not in text[:-1], "only the end of an answer may be half a character"


def test_a_stream_is_the_whole_answer_in_pieces(server: str, model: str) -> None:
    for seed in (1, 2):
        streamed = whole(server, body(model, temperature=1, seed=seed))
        answer = httpx.post(
            f"{server}/v1/chat/completions",
            content=body(model, temperature=1, seed=seed, stream=False),
            timeout=60,
        ).json()
        assert answer["choices"][0]["message"]["content"] == streamed


def test_an_engine_that_is_killed_is_opened_anew_and_its_answers_go_on(server: str, model: str) -> None:
    if model == "echo":
        pytest.skip("echo has no process of its own")
    content = body(model, max_tokens=300, ignore_eos=True)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(whole, server, content) for _ in range(2)]
        while numbers(server, model)["batchyard_running_answers"] < 2:
            time.sleep(0.01)
        time.sleep(1)  # in the middle of them, by all odds; the test holds wherever it hits
        for process_id in engines():
            os.kill(process_id, signal.SIGKILL)
        assert all(len(answer.result()) > 300 for answer in answers)
    idle(server, model)
