"""Texts are tokenised and packed here, and computed by a real Triton."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from service.gateway import Gateway
from service.types import InferRequest
from tests.e2e.processes import parameter, write_model
from tests.service.remote.gateways import gateway_over, remote_model
from tests.triton.install import NotAvailableError
from tests.triton.server import TritonServer

TENSORS = """
max_batch_size: 8
input [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }, { name: "position_ids" data_type: TYPE_INT64
dims: [ -1 ] }, { name: "segment_ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "EMBEDDING" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]
"""
TEXT = parameter("text.tokenizer", "tokenizer.json") + parameter("text.max_tokens", 16)
PACKED = parameter("packing.widths", "8,16") + parameter("packing.max_tokens", 64)
WORDS = {word: number for number, word in enumerate(("?", "my", "card", "is", "lost", "top", "up"))}


@pytest.fixture(scope="module")
def packing_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("packing")
    write_model(folder, "packed", 'backend: "python"\ninstance_group { kind: KIND_CPU }\n' + TENSORS)
    shutil.copy(Path(__file__).with_name("packed_model.py"), folder / "packed" / "1" / "model.py")
    try:
        server = TritonServer(folder)
    except NotAvailableError as error:
        pytest.skip(str(error))
    with server:
        yield server


def text_model(root: Path, name: str, config: str, server: TritonServer) -> None:
    remote_model(root, name, config, urls=f"grpc://{server.grpc}", model="packed")
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(root / name / "tokenizer.json"))


async def embed(gateway: Gateway, text: str) -> list[float]:
    inputs = {"text": np.array([[text.encode()]], object)}
    answer = await gateway.infer(InferRequest("encoder", inputs, deadline=time.monotonic() + 10))
    return [float(value) for value in answer.outputs["EMBEDDING"].ravel()]


async def test_texts_share_rows_and_each_gets_its_own_answer(tmp_path: Path, packing_triton: TritonServer) -> None:
    text_model(tmp_path, "encoder", TENSORS + TEXT + PACKED, packing_triton)
    texts = [" ".join(list(WORDS)[1 : 2 + number % 6]) for number in range(60)]
    async with gateway_over(tmp_path) as (gateway, _):
        assert gateway.model("encoder").signature.inputs[0].name == "text"
        found = await asyncio.gather(*(embed(gateway, text) for text in texts))
    wanted = [[sum(WORDS[word] for word in text.split()), len(text.split())] for text in texts]
    assert found == wanted


async def test_texts_without_batches_are_refused(tmp_path: Path, packing_triton: TritonServer) -> None:
    text_model(tmp_path, "encoder", "max_batch_size: 8\n" + TEXT, packing_triton)
    async with gateway_over(tmp_path) as (gateway, _):
        assert "needs batches made here; add dynamic_batching" in gateway.model("encoder").reason
