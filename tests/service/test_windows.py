"""Long texts by numbers: where they are cut, how the answers are joined, and what cannot be served."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import pre_tokenizers, processors
from tokenizers.models import WordLevel

from engines.config.pbtxt import parse
from engines.errors import InvalidInputError, ModelLoadError
from engines.model_config import ModelConfig
from engines.tensor import BYTES, FP32, Array, TensorSpec
from engines.text import Tokenizer
from engines.text_gate import GATE_FILE, TextGate
from engines.text_pieces import INSIDE, PIECE, SENTENCE, WORD
from service.errors import InvalidRequestError
from service.types import InferRequest
from service.windows import MOST_TOKENS, WeightedMean, Windows, bounds, open_windows

WINDOW, VOCABULARY = 8, 50
VECTOR = TensorSpec("embedding", FP32, (3,))


def tokenizer() -> Tokenizer:
    """w0 to w47 are words, 48 begins a window and 49 ends it."""
    words = {**{f"w{number}": number for number in range(48)}, "[B]": 48, "[E]": 49}
    made = HuggingFaceTokenizer(WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing("[B] $A [E]", special_tokens=[("[B]", 48), ("[E]", 49)])
    return Tokenizer(made, WINDOW)


def gate() -> TextGate:
    random = np.random.default_rng(3)
    return TextGate(random.integers(-127, 127, (VOCABULARY, 12)).astype(np.int8), np.ones(VOCABULARY, np.float32))


def windows(share: float = 0.0) -> Windows:
    return Windows(tokenizer(), gate(), share)


def words(*numbers: int) -> bytes:
    return " ".join(f"w{number}" for number in numbers).encode()


def kinds(text: str) -> Array:
    """Of each letter: s a sentence begins, w a word, p a piece, i nothing."""
    return np.array(["ipws".index(letter) for letter in text], np.int8)


@given(st.lists(st.sampled_from((INSIDE, PIECE, WORD, SENTENCE)), max_size=200), st.integers(1, 30))
def test_every_token_is_in_one_window_in_order(breaks: list[int], room: int) -> None:
    found = bounds(np.array(breaks, np.int8), room)
    assert found[0] == 0
    assert found[-1] == len(breaks)
    sizes = np.diff(found)
    assert sizes.max() <= room
    assert sizes.min() > 0 or not breaks


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(9, 30))
def test_words_that_fit_stay_whole(lengths: list[int], room: int) -> None:
    breaks = np.array([kind for length in lengths for kind in (WORD, *[PIECE] * (length - 1))], np.int8)
    assert all(breaks[start] == WORD for start in bounds(breaks, room)[:-1])


@pytest.mark.parametrize(
    ("text", "room", "found"),
    [
        ("swwwwwww", 8, [0, 8]),
        ("swwwwwwww", 8, [0, 8, 9]),
        ("swwwwwswww", 8, [0, 6, 10]),  # a sentence ends in the last quarter
        ("swwswwwwww", 8, [0, 8, 10]),  # the sentence would leave too much of the window
        ("swwiiiiiiii", 8, [0, 2, 10, 11]),  # a word back, then a word longer than a window
        ("siiipiiiiip", 8, [0, 4, 11]),
        ("swsw", 1, [0, 1, 2, 3, 4]),
        ("", 8, [0, 0]),
    ],
)
def test_windows_end_where_something_ends(text: str, room: int, found: list[int]) -> None:
    assert bounds(kinds(text), room) == found


def test_a_text_that_fits_is_one_window_and_the_next_token_makes_two() -> None:
    fits, longer = windows().split([words(*range(6)), words(*range(7))], 0.0, 99)
    assert [ids.tolist() for ids in fits.windows] == [[48, 0, 1, 2, 3, 4, 5, 49]]
    assert [ids.tolist() for ids in longer.windows] == [[48, 0, 1, 2, 3, 4, 5, 49], [48, 6, 49]]
    assert longer.weights.tolist() == [6, 1]
    assert (fits.tokens, longer.tokens) == (8, 9)


def test_the_gate_leaves_windows_out_of_long_texts_only() -> None:
    document = words(*(number % 48 for number in range(600)))
    short, full = windows().split([words(1, 1), document], 0.0, 999)
    same, gated = windows().split([words(1, 1), document], 0.5, 999)
    assert same.windows[0].tolist() == short.windows[0].tolist()
    assert len(gated.windows) < len(full.windows) == 100
    assert gated.weights.sum() == pytest.approx(600)
    assert gated.tokens == full.tokens == 602


def test_more_windows_than_the_queue_holds_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="the texts make 4 windows of 8 tokens, the queue holds 3; send them"):
        windows().split([words(*range(12)), words(*range(12))], 0.0, 3)


def test_more_tokens_than_served_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=f"text 0 has more than {MOST_TOKENS} tokens"):
        windows().split([b"w1 " * (MOST_TOKENS + 1)], 0.0, 99)


def unit(*values: float) -> Array:
    vector = np.array([values], np.float32)
    return vector / np.linalg.norm(vector)


def test_answers_are_joined_by_weight_to_vectors_of_length_one() -> None:
    parts = [unit(1, 2, 3), unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)]
    join = WeightedMean([np.array([5.0]), np.array([3.0, 4.0]), np.array([2.0])])
    (found,) = join([{"embedding": part} for part in parts]).values()
    assert found.dtype == np.float32
    assert found[0].tolist() == parts[0][0].tolist(), "a text that fits is answered as it is"
    assert found[1] == pytest.approx([0.6, 0.8, 0])
    assert found[2].tolist() == [0, 0, 1]


def test_other_vectors_are_joined_as_they_are() -> None:
    parts = [{"logits": np.array([[4.0, 0.0]], np.float16)}, {"logits": np.array([[0.0, 1.0]], np.float16)}]
    (found,) = WeightedMean([np.array([1.0, 3.0])])(parts).values()
    assert found.dtype == np.float16
    assert found.tolist() == [[1.0, 0.75]]


def test_windows_that_cancel_out_have_no_direction() -> None:
    parts = [{"embedding": unit(1, 0)}, {"embedding": unit(-1, 0)}]
    (found,) = WeightedMean([np.array([1.0, 1.0])])(parts).values()
    assert found.tolist() == [[0, 0]]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 1000))
def test_the_mean_is_that_of_numpy(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    weights = [random.uniform(0.1, 9, size) for size in sizes]
    rows = [random.normal(size=(size, 4)) for size in sizes]
    (found,) = WeightedMean(weights)([{"out": row[np.newaxis]} for text in rows for row in text]).values()
    wanted = [np.average(text, axis=0, weights=weight) for text, weight in zip(rows, weights, strict=True)]
    assert found == pytest.approx(np.array(wanted))


def request(**parameters: bool | float | str) -> InferRequest:
    return InferRequest("m", {}, parameters=parameters)


def test_the_share_is_the_requests_else_the_models() -> None:
    assert windows(0.25).share_of(request()) == 0.25
    assert windows(0.25).share_of(request(gate=0.5)) == 0.5
    assert windows(0.25).share_of(request(gate=0)) == 0


@pytest.mark.parametrize("wrong", [1, -0.1, 7.5, float("nan"), "0.5", True])
def test_a_wrong_share_is_refused(wrong: bool | float | str) -> None:
    with pytest.raises(InvalidRequestError, match=r"'gate' is .*; give a number from 0 to below 1") as refused:
        windows().share_of(request(gate=wrong))
    assert refused.value.param == "gate"
    assert windows().cost([20], request(gate=wrong)) == 20


def test_a_share_needs_the_gates_table() -> None:
    without = replace(windows(), gate=None)
    assert without.share_of(request(gate=0)) == 0
    with pytest.raises(InvalidRequestError, match=f"the model has no {GATE_FILE}; leave it out, or build it again"):
        without.share_of(request(gate=0.5))


@pytest.mark.parametrize(
    ("costs", "parameters", "cost"),
    [([8, 3], {}, 11), ([8, 20], {}, 18), ([8, 20], {"gate": 0}, 28), ([40], {"gate": 0.25}, 30), ([], {}, 0)],
)
def test_what_the_gate_leaves_out_costs_nothing(costs: list[int], parameters: Mapping[str, float], cost: int) -> None:
    assert windows(0.5).cost(costs, request(**parameters)) == cost


def config(gate: str = "0") -> ModelConfig:
    text = (
        'backend: "identity" max_batch_size: 4\n'
        'input [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] } ]\n'
        'output [ { name: "embedding" data_type: TYPE_FP32 dims: [ 3 ] } ]\n'
    )
    values = {"tokenizer": "config.pbtxt", "max_tokens": "8", "windows": "true", "gate": gate}
    text += "".join(
        f'parameters {{ key: "batchyard.text.{k}" value {{ string_value: "{v}" }} }}' for k, v in values.items()
    )
    return parse(text, source="m", folder=Path(__file__).parents[2] / "model_repository" / "identity")


def test_the_gate_is_asked_for_by_the_configuration(tmp_path: Path) -> None:
    assert open_windows(config(), tokenizer(), [VECTOR], tmp_path).gate is None
    with pytest.raises(ModelLoadError, match=GATE_FILE):
        open_windows(config("0.5"), tokenizer(), [VECTOR], tmp_path)


@pytest.mark.parametrize(
    "output", [TensorSpec("label", BYTES, (1,)), TensorSpec("hidden", FP32, (-1, 3)), TensorSpec("tokens", FP32, (-1,))]
)
def test_a_model_whose_answers_have_no_mean_is_refused(tmp_path: Path, output: TensorSpec) -> None:
    with pytest.raises(ModelLoadError, match=f"one vector a text, but output '{output.name}' is .*; remove the param"):
        open_windows(config(), tokenizer(), [VECTOR, output], tmp_path)
