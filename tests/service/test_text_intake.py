from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import pre_tokenizers
from tokenizers.models import WordLevel

from engines.tensor import BYTES, INT64, Signature, TensorSpec
from engines.text import Tokenizer
from service.errors import InvalidRequestError
from service.text_intake import TextIntake
from service.types import InferRequest, Job
from service.windows import MOST_TOKENS, WeightedMean, Windows

SIGNATURE = Signature(
    (TensorSpec("text", BYTES, (1,), optional=True), TensorSpec("input_ids", INT64, (-1,), optional=True)), (), 8
)


@pytest.fixture
def intake() -> TextIntake:
    tokenizer = HuggingFaceTokenizer(WordLevel({"my": 0, "card": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return TextIntake(SIGNATURE, Tokenizer(tokenizer, 16), lambda ids: {"input_ids": ids})


@pytest.fixture
def splitting(intake: TextIntake) -> TextIntake:
    return replace(intake, windows=Windows(intake.tokenizer, None, 0.0))


async def ask(intake: TextIntake, *texts: bytes, **parameters: float) -> Job:
    return await intake.check(InferRequest("m", {"text": np.array(texts, object)}, parameters=parameters))


async def test_each_text_is_a_part(intake: TextIntake) -> None:
    job = await intake.check(InferRequest("m", {"text": np.array([b"my card", b"card"], object)}))
    assert [part["input_ids"].tolist() for part in job.parts] == [[0, 1], [1]]
    assert job.costs == [2, 1]


async def test_a_text_without_tokens_is_refused(intake: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match="text 1 has no tokens"):
        await intake.check(InferRequest("m", {"text": np.array([b"my", b" "], object)}))


async def test_a_text_as_long_as_the_window_is_one_urgent_part(splitting: TextIntake) -> None:
    job = await ask(splitting, b"my " * 16)
    assert (job.costs, job.bulk, job.join, job.tokens) == ([16], (), None, None)


async def test_one_token_more_makes_two_parts_that_can_wait(splitting: TextIntake) -> None:
    job = await ask(splitting, b"my " * 17)
    assert (job.costs, job.bulk, job.tokens) == ([16, 1], {0, 1}, 17)


async def test_without_windows_it_is_refused(intake: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match="text of 17 tokens is longer than the model's window of 16"):
        await ask(intake, b"my " * 17)


async def test_short_texts_beside_a_long_one_stay_urgent_and_in_order(splitting: TextIntake) -> None:
    job = await ask(splitting, b"card", b"my " * 40, b"my card", b"card " * 20)
    assert job.costs == [1, 16, 16, 8, 2, 16, 4]
    assert job.bulk == {1, 2, 3, 5, 6}
    assert job.tokens == 1 + 40 + 2 + 20
    assert isinstance(job.join, WeightedMean)
    rows = job.join([{"out": np.array([[float(number)]])} for number in range(7)])["out"]
    assert rows.ravel() == pytest.approx([0, (16 * 1 + 16 * 2 + 8 * 3) / 40, 4, (16 * 5 + 4 * 6) / 20])


async def test_a_word_of_50000_characters(splitting: TextIntake) -> None:
    assert (await ask(splitting, b"a" * 50_000)).costs == [1]
    letters = HuggingFaceTokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split("a", "isolated")
    of_letters = TextIntake(SIGNATURE, Tokenizer(letters, 9000), splitting.part)
    of_letters = replace(of_letters, windows=Windows(of_letters.tokenizer, None, 0.0))
    assert (await ask(of_letters, b"a" * 50_000)).costs == [9000] * 5 + [5000]


async def test_an_empty_text_beside_a_long_one_is_refused(splitting: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match="text 1 has no tokens"):
        await ask(splitting, b"my " * 17, b" ")


async def test_more_windows_than_the_queue_holds_are_refused(splitting: TextIntake) -> None:
    assert len((await ask(splitting, b"my " * 128)).parts) == 8
    with pytest.raises(InvalidRequestError, match="make 9 windows of 16 tokens, the queue holds 8"):
        await ask(splitting, b"my " * 129)


async def test_a_text_of_too_many_tokens_is_refused(splitting: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match=f"text 0 has more than {MOST_TOKENS} tokens") as refused:
        await ask(splitting, b"my " * (MOST_TOKENS + 1))
    assert refused.value.param == "text"


async def test_ids_of_a_long_text_are_refused_with_the_remedy(splitting: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match=r"longer than the model's window of 16.*; sent as text, it is split"):
        await splitting.check(InferRequest("m", {"input_ids": np.ones((1, 17), np.int64)}))


async def test_the_gate_is_refused_where_there_is_none(splitting: TextIntake) -> None:
    with pytest.raises(InvalidRequestError, match="the model has no text_gate"):
        await ask(splitting, b"my " * 17, gate=0.5)


async def test_what_a_long_text_costs_is_guessed_before_it_is_tokenised(splitting: TextIntake) -> None:
    request = InferRequest("m", {"text": np.array([b"my " * 400, b"card"], object)}, parameters={"gate": 0.5})
    assert splitting.estimate(request) == (1200 // 3 + 2) // 2 + 4 // 3 + 2
