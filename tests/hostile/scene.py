"""The server that is attacked, a process of its own, and the good requests that it must answer meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

from tests.e2e.processes import IDENTITY, ROOT, Server, infer_body, serving, write_model
from tests.engines.tiny_encoder import build, write_encoder
from tests.hostile.cases import Grpc, Http
from tests.hostile.grpc_calls import request
from tests.hostile.openai import CHAT
from tests.hostile.rest import INFER
from tests.hostile.send import Wire


@contextmanager
def attacked(folder: Path, *arguments: str) -> Iterator[Server]:
    """A server whose callers may control it."""
    repository = folder / "repository"
    write_model(repository, "identity", IDENTITY)
    copytree(ROOT / "model_repository" / "echo", repository / "echo")
    build(write_encoder(folder / "encoder"), repository, "onnxruntime")
    with serving(folder, repository, "--allow-control", *arguments) as server:
        yield server


def wrong(wire: Wire, number: int) -> str:
    """Asks one good question over each protocol; says which of the answers is not right, "" for none."""
    rest = wire.send(Http(INFER, infer_body([number, 0.5])))
    if rest.status != 200 or json.loads(rest.text)["outputs"][0]["data"] != [number, 0.5]:
        return f"REST: {rest}"
    words = f"say {number}"
    body = {"model": "echo", "messages": [{"role": "user", "content": words}]}
    chat = wire.send(Http(CHAT, json.dumps(body).encode()))
    if chat.status != 200 or words not in json.loads(chat.text)["choices"][0]["message"]["content"]:
        return f"OpenAI: {chat}"
    asked = request([number.to_bytes(8, "little")])
    asked.id = f"good-{number}"
    call = wire.send(Grpc("ModelInfer", [asked]))
    if call.status != "OK" or repr(number.to_bytes(8, "little"))[2:-1] not in call.text:
        return f"gRPC: {call}"
    return ""
