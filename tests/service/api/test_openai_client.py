"""The unmodified openai client against the HTTP surface.

`strict` validates answers; it cannot read base64 (it checks for floats before it decodes), which is what the client
asks for by default.
"""

import numpy as np
import openai
import pytest

from tests.service.api.models import EMBEDDING_SIZE, TestGateway, embedding_of
from tests.service.api.serving import Address


def ids(tokens: list[int]) -> np.ndarray:
    return embedding_of(np.array(tokens, np.int64).tobytes())


def test_one_text(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="minilm", input="I lost my card")
    assert (answer.model, answer.object, answer.usage.prompt_tokens, answer.usage.total_tokens) == (
        "minilm",
        "list",
        1,
        1,
    )
    np.testing.assert_array_equal(np.float32(answer.data[0].embedding), embedding_of(b"I lost my card"))


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_many_texts(async_client: openai.AsyncOpenAI, encoding: str) -> None:
    texts = [f"text {i} grüßt" for i in range(11)]
    raw = await async_client.embeddings.with_raw_response.create(model="minilm", input=texts, encoding_format=encoding)
    assert ("[" in raw.text.partition('"embedding":')[2][:1]) is (encoding == "float")
    answer = await async_client.embeddings.create(model="minilm", input=texts)
    assert [item.index for item in answer.data] == list(range(11))
    assert answer.usage.prompt_tokens == 11
    found = np.array([item.embedding for item in answer.data], np.float32)
    np.testing.assert_array_equal(found, np.stack([embedding_of(text.encode()) for text in texts]))


def test_float_and_base64_say_the_same(client: openai.OpenAI, strict: openai.OpenAI) -> None:
    as_float = strict.embeddings.create(model="minilm", input="hello", encoding_format="float")
    as_default = client.embeddings.create(model="minilm", input="hello")
    assert np.array_equal(np.float32(as_float.data[0].embedding), np.float32(as_default.data[0].embedding))


def test_token_ids(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="minilm", input=[101, 7592, 102])
    np.testing.assert_array_equal(np.float32(answer.data[0].embedding), ids([101, 7592, 102]))
    assert answer.usage.total_tokens == 3


def test_ragged_token_ids(client: openai.OpenAI) -> None:
    lists = [[1, 2, 3], [4], [5, 6]]
    answer = client.embeddings.create(model="minilm", input=lists)
    found = np.array([item.embedding for item in answer.data], np.float32)
    np.testing.assert_array_equal(found, np.stack([ids(tokens) for tokens in lists]))
    assert answer.usage.total_tokens == 6


def test_dimensions(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="minilm", input="hello", dimensions=3)
    cut = embedding_of(b"hello")[:3]
    np.testing.assert_allclose(answer.data[0].embedding, cut / np.linalg.norm(cut), rtol=1e-6)


def test_user_is_accepted(client: openai.OpenAI) -> None:
    client.embeddings.create(model="minilm", input="hello", user="u1", extra_body={"safety_identifier": "s"})


def test_read_timeout_is_the_deadline(client: openai.OpenAI, gateway: TestGateway) -> None:
    before = gateway.clock()
    client.with_options(timeout=7.0).embeddings.create(model="minilm", input="hello")
    assert gateway.last is not None
    assert before + 7 <= gateway.last.deadline <= gateway.clock() + 7


async def test_strict_asyncio(async_strict: openai.AsyncOpenAI) -> None:
    answer = await async_strict.embeddings.create(model="minilm", input=["a", "b"], encoding_format="float")
    assert [np.float32(item.embedding).tolist() for item in answer.data] == [
        embedding_of(text).tolist() for text in (b"a", b"b")
    ]


def test_models(strict: openai.OpenAI) -> None:
    listed = strict.models.list().data
    names = {model.id for model in listed}
    assert {"minilm", "identity"} <= names
    assert "bad" not in names
    assert strict.models.retrieve("minilm") in listed


async def test_models_asyncio(async_strict: openai.AsyncOpenAI) -> None:
    assert (await async_strict.models.retrieve("identity")).owned_by == "batchyard"


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("unknown", openai.NotFoundError, "model_not_found"),
        ("wrong", openai.BadRequestError, "invalid_request"),
        ("full", openai.RateLimitError, "rate_limit_exceeded"),
        ("bad", openai.InternalServerError, "model_unavailable"),
        ("down", openai.InternalServerError, "model_unavailable"),
        ("late", openai.InternalServerError, "deadline_exceeded"),
        ("broken", openai.InternalServerError, "engine_failed"),
        ("crash", openai.InternalServerError, "internal_error"),
        ("nan", openai.InternalServerError, "engine_failed"),
    ],
)
def test_error_classes(client: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str) -> None:
    with pytest.raises(error) as caught:
        client.embeddings.create(model=model, input="hello")
    assert caught.value.code == code
    assert caught.value.request_id


async def test_error_classes_asyncio(async_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await async_client.models.retrieve("unknown")
    with pytest.raises(openai.InternalServerError, match="no such field"):
        await async_client.models.retrieve("bad")


def test_retry_after_is_obeyed(address: Address) -> None:
    with (
        openai.OpenAI(base_url=f"{address.url}/v1", api_key="none", max_retries=1) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.embeddings.create(model="full", input="hello")
    assert caught.value.response.headers["retry-after-ms"] == "250"
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "1"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty item"),
        ({"input": [[1], []]}, "input", "empty item"),
        ({"input": ["a", 1]}, "input", "Expected `str`, got `int`"),
        ({"input": [1, "a"]}, "input", "Expected `int`, got `str`"),
        ({"input": [1, -1]}, "input", ">= 0"),
        ({"input": [[1], [2**31]]}, "input", "<= 2147483647"),
        ({"input": [1.5]}, "input", "got `float`"),
        ({"input": [[["a"]]]}, "input", "Expected `int`"),
        ({"input": {"a": 1}}, "input", "Expected `str`"),
        ({"input": None}, "input", "Expected `str`"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"dimensions": EMBEDDING_SIZE + 1}, "dimensions", f"have {EMBEDDING_SIZE}"),
        ({"dimensions": 0}, "dimensions", ">= 1"),
        ({"dimensions": "3"}, "dimensions", "got `str`"),
        ({"encoding_format": "hex"}, "encoding_format", "hex"),
        ({"user": 1}, "user", "got `int`"),
        ({"unheard_of": 1}, "unheard_of", "unknown field"),
        ({"model": 5}, "model", "got `int`"),
        ({"model": "add_sub"}, "model", "gives no embeddings"),
        ({"model": "identity"}, "input", "needs a model with input 'text'"),
    ],
)
def test_bad_requests(client: openai.OpenAI, body: dict[str, object], param: str, words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/embeddings", cast_to=object, body={"model": "minilm", "input": "hello"} | body)
    assert caught.value.param == param
    assert words in caught.value.message
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("missing", ["model", "input"])
def test_missing_fields(client: openai.OpenAI, missing: str) -> None:
    body = {"model": "minilm", "input": "hello"}
    del body[missing]
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/embeddings", cast_to=object, body=body)
    assert caught.value.param == missing
