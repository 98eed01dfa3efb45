import numpy as np
import pytest
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import pre_tokenizers
from tokenizers.models import WordLevel

from engines.tensor import BYTES, INT64, Signature, TensorSpec
from engines.text import Tokenizer
from service.errors import InvalidRequestError
from service.text_intake import TextIntake
from service.types import InferRequest

SIGNATURE = Signature(
    (TensorSpec("text", BYTES, (1,), optional=True), TensorSpec("input_ids", INT64, (-1,), optional=True)), (), 8
)


@pytest.fixture
def intake() -> TextIntake:
    tokenizer = HuggingFaceTokenizer(WordLevel({"my": 0, "card": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextIntake(SIGNATURE, Tokenizer(tokenizer, 16), lambda ids: {"input_ids": ids})


async def test_each_text_is_a_part(intake: TextIntake) -> None:
    job = await intake.check(InferRequest("m", {"text": np.array([b"my card", b"card"], object)}))
    assert [part["input_ids"].tolist() for part in job.parts] == [[0, 1], [1]]
    assert job.costs == [2, 1]


async def test_a_text_without_tokens_is_refused(intake: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match="text 1 has no tokens"):
        await intake.check(InferRequest("m", {"text": np.array([b"my", b" "], object)}))
