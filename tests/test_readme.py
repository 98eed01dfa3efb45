"""The README is run: its commands exist, its links lead somewhere, its curl calls give the answers it shows."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import pytest

from service.cli import command_line

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
URL = "http://127.0.0.1:8000"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [(match[1], match[2]) for match in _BLOCK.finditer(README)]
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
CALLS = [
    (text, answer) for (kind, text), (next_kind, answer) in pairwise(BLOCKS) if kind == "bash" and next_kind == "json"
]
SHOWN = {call for call, _ in CALLS}
SPOKEN = [text for kind, text in BLOCKS if kind == "bash" and text.startswith("curl") and text not in SHOWN]


def _words(program: str) -> Iterator[list[str]]:
    """Arguments of every README line that runs `program`."""
    for line in COMMANDS:
        words = [word for word in line.split("#")[0].split() if not word.startswith("BATCHYARD_")]
        if words[:1] == [program]:
            yield words[1:]


def test_an_intent_and_an_embedding_are_shown() -> None:
    assert [re.search(r"/v\d[^ ]*", call)[0] for call, _ in CALLS] == [  # type: ignore[index]
        "/v2/models/intent/infer",
        "/v1/embeddings",
    ]


@pytest.mark.parametrize("call", SPOKEN)
def test_curl_gets_an_answer_in_words(call: str, server: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(["bash", "-c", call.replace(URL, server)], capture_output=True, text=True, check=True)
    if "assistant" in _unavailable(server):
        pytest.skip("the language model is not built: run `batchyard build`")
    assert '"finish_reason":"' in done.stdout, f"the server answers {done.stdout}"
    if "bank-assistant" in call:
        assert re.search(r"x-batchyard-intent: card_arrival\b", done.stdout)


def _unavailable(server: str) -> set[str]:
    with urlopen(f"{server}/v1/models") as answer:
        ready = {model["id"] for model in json.load(answer)["data"]}
    return {"assistant"} - ready


@pytest.mark.parametrize(("call", "shown"), CALLS)
def test_curl_gives_the_answer_shown(call: str, shown: str, server: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = call.replace(URL, server)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert _same(json.loads(done.stdout), json.loads(shown)), f"the server answers {done.stdout}"


def _same(found: object, shown: object) -> bool:
    """Equal but for numbers with fractions: engines and processors differ in their last digits."""
    if isinstance(found, float) and isinstance(shown, float):
        return found == pytest.approx(shown, abs=0.01)
    if isinstance(found, dict) and isinstance(shown, dict):
        return found.keys() == shown.keys() and all(_same(found[key], shown[key]) for key in found)
    if isinstance(found, list) and isinstance(shown, list):
        return len(found) == len(shown) and all(map(_same, found, shown))
    return found == shown


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = [words[0] for words in _words("make")] + re.findall(r"`make (\w+)`", README)
    assert {"serve", "test"} <= set(targets)
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_batchyard_commands_parse() -> None:
    commands = [words for words in _words("batchyard") if "--help" not in words]
    assert len(commands) >= 3
    for words in commands:
        _, unknown = command_line().parse_known_args(words)
        assert unknown == []


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(targets) >= 3
    assert [target for target in targets if not (ROOT / target).exists()] == []
