"""A document through a real server with the shipped models: one vector, near to that of its windows' mean."""

import json

import httpx
import numpy as np
import openai
import pytest

from engines.tensor import Array
from tests.conftest import ROOT

DOCUMENT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SHORT = "my card is lost"


def infer(server: str, model: str, texts: list[str], **parameters: float) -> Array:
    """The rows of the first output."""
    inputs = [{"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]
    body = {"inputs": inputs, "parameters": parameters}
    answer = httpx.post(f"{server}/v2/models/{model}/infer", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.array(json.loads(answer.text)["outputs"][0]["data"]).reshape(len(texts), -1)


@pytest.mark.parametrize("model", ["minilm", "minilm_onnx"])
def test_a_document_is_one_embedding(server: str, model: str) -> None:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        found = client.embeddings.create(model=model, input=[SHORT, DOCUMENT, SHORT], encoding_format="float")
    first, document, last = (np.array(row.embedding) for row in found.data)
    assert np.linalg.norm(document) == pytest.approx(1, abs=1e-5)
    assert first == pytest.approx(last, abs=1e-5)
    assert document == pytest.approx(infer(server, model, [DOCUMENT])[0], abs=1e-5)
    assert found.usage.prompt_tokens > 1000


def test_a_document_is_the_mean_of_its_parts(server: str) -> None:
    """Cut at words here, at sentences there: nearly the same."""
    words = DOCUMENT.split()
    parts = [" ".join(words[start : start + 80]) for start in range(0, len(words), 80)]
    mean = infer(server, "minilm_onnx", parts).mean(axis=0)
    assert infer(server, "minilm_onnx", [DOCUMENT])[0] @ mean / np.linalg.norm(mean) > 0.95


def test_the_gate_keeps_the_direction(server: str) -> None:
    full, gated = infer(server, "minilm_onnx", [DOCUMENT]), infer(server, "minilm_onnx", [DOCUMENT], gate=0.5)
    assert np.linalg.norm(gated) == pytest.approx(1, abs=1e-5)
    assert 0.95 < (full @ gated.T).item() < 0.99999


def test_a_document_has_an_intent(server: str) -> None:
    assert infer(server, "intent", [DOCUMENT, SHORT]).shape == (2, 1)


def test_a_wrong_gate_is_refused(server: str) -> None:
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [DOCUMENT]}],
        "parameters": {"gate": 1},
    }
    answer = httpx.post(f"{server}/v2/models/minilm_onnx/infer", json=body, timeout=60)
    assert answer.status_code == 400
    assert "'gate' is 1; give a number from 0 to below 1" in answer.json()["error"]
