"""How the torch generator chooses tokens: distributions, penalties, biases, seeds and logprobs."""

import math
from collections import Counter

import pytest

from engines.text_generator import ChosenToken, Sampling

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

sampling = pytest.importorskip("engines.torch_generate_sampling")

LOGITS = [2.0, 1.0, 0.5, 0.0, -1.0, -4.0]
PROBABILITIES = [math.exp(logit) / sum(math.exp(other) for other in LOGITS) for logit in LOGITS]
DRAWS = 2000


def chosen(logits: list[float], tokens: list[int] | None = None, prompt: int = 0, **settings: object) -> ChosenToken:
    """One choice, after `tokens`, of which the first `prompt` are the prompt's."""
    given = tokens or []
    chooser = sampling.Chooser(Sampling(**{"max_tokens": 9, "temperature": 0.0, **settings}), given[:prompt], "cpu")
    chooser.tokens.extend(given[prompt:])
    (token,) = sampling.choose(torch.tensor([logits]), [chooser])
    return token


def drawn(**settings: object) -> Counter[int]:
    chooser = sampling.Chooser(Sampling(**{"max_tokens": 9, "seed": 5, **settings}), [], "cpu")
    logits = torch.tensor([LOGITS])
    return Counter(sampling.choose(logits, [chooser])[0].id for _ in range(DRAWS))


def shares(found: Counter[int]) -> list[float]:
    return [found[token] / DRAWS for token in range(len(LOGITS))]


def test_tokens_are_drawn_by_their_probabilities() -> None:
    assert shares(drawn()) == pytest.approx(PROBABILITIES, abs=0.04)


def test_temperature_sharpens() -> None:
    weights = [math.exp(logit / 0.5) for logit in LOGITS]
    assert shares(drawn(temperature=0.5)) == pytest.approx([one / sum(weights) for one in weights], abs=0.04)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3, 4, 5}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.0}, {0}),
        ({"min_p": 0.2}, {0, 1, 2}),
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "min_p": 0.3}, {0, 1}),
        ({"temperature": 1e-6}, {0}),
    ],
)
def test_what_may_be_drawn(settings: dict[str, object], left: set[int]) -> None:
    found = drawn(**settings)
    assert found.keys() <= left
    assert all(found[token] for token in left if PROBABILITIES[token] > 0.01)


def test_rows_of_all_kinds_share_a_batch() -> None:
    kinds = [
        {"temperature": 0.0},
        {"seed": 3},
        {"seed": 3, "top_k": 1},
        {"seed": 4, "logit_bias": {5: 100.0}},
        {"seed": 3},
    ]
    choosers = [sampling.Chooser(Sampling(9, **kind), [], "cpu") for kind in kinds]
    batched = [sampling.choose(torch.tensor([LOGITS] * 5), choosers) for _ in range(20)]
    for row, kind in enumerate(kinds):
        chooser = sampling.Chooser(Sampling(9, **kind), [], "cpu")
        alone = [sampling.choose(torch.tensor([LOGITS]), [chooser])[0].id for _ in range(20)]
        assert [tokens[row].id for tokens in batched] == alone


def test_seeds_differ_and_may_be_any_number() -> None:
    answers = set()
    for seed in (0, 1, 2**31, 2**63, 2**64 - 1, -1, 2**70):
        chooser = sampling.Chooser(Sampling(9, seed=seed), [], "cpu")
        answers.add(tuple(sampling.choose(torch.tensor([LOGITS]), [chooser])[0].id for _ in range(40)))
    assert len(answers) == 5  # 2**64 - 1 is -1, and 2**70 is 0, to a generator of 64 bits


def test_a_bias_forces_or_bans_a_token() -> None:
    assert chosen(LOGITS, logit_bias={4: 100.0}).id == 4
    assert chosen(LOGITS, logit_bias={0: -100.0, 1: -100.0}).id == 2
    assert drawn(logit_bias={3: 100.0}) == Counter({3: DRAWS})
    assert not drawn(logit_bias={0: -100.0})[0]


def test_presence_counts_once_and_frequency_each_time_and_only_in_the_answer() -> None:
    logits = [2.0, 1.5, 1.4]
    assert chosen(logits, [0, 0], prompt=2, presence_penalty=2.0, frequency_penalty=2.0).id == 0
    assert chosen(logits, [0], presence_penalty=0.55).id == 1
    assert chosen(logits, [0, 0, 0], presence_penalty=0.45).id == 0
    assert chosen(logits, [0, 0], frequency_penalty=0.2).id == 0
    assert chosen(logits, [0, 0, 0], frequency_penalty=0.2).id == 1
    assert chosen([1.0, 1.1], [0], presence_penalty=-1.0).id == 0


def test_repetition_is_for_the_prompt_too() -> None:
    assert chosen([2.0, 1.5], [0], prompt=1, repetition_penalty=1.5).id == 1
    assert chosen([2.0, 1.5], [0], repetition_penalty=1.5).id == 1
    assert chosen([-1.0, -1.4], [0], prompt=1, repetition_penalty=1.5).id == 1
    assert chosen([2.0, 1.5], [0], prompt=1, repetition_penalty=1.2).id == 0


def test_logprobs_are_the_models_own_and_sum_to_one() -> None:
    token = chosen(LOGITS, [0], logprobs=len(LOGITS), logit_bias={3: 100.0}, presence_penalty=1.0)
    assert token.id == 3
    assert token.logprob == pytest.approx(math.log(PROBABILITIES[3]), abs=1e-5)
    assert [one for one, _ in token.top] == [0, 1, 2, 3, 4, 5]
    assert sum(math.exp(logprob) for _, logprob in token.top) == pytest.approx(1, abs=1e-5)
    assert [logprob for _, logprob in token.top] == pytest.approx([math.log(one) for one in PROBABILITIES], abs=1e-5)


def test_so_many_logprobs_as_are_wanted() -> None:
    assert chosen(LOGITS, logprobs=None) == ChosenToken(0)
    assert chosen(LOGITS, logprobs=0).top == ()
    assert chosen(LOGITS, logprobs=0).logprob == pytest.approx(math.log(PROBABILITIES[0]), abs=1e-5)
    assert len(chosen(LOGITS, logprobs=2).top) == 2
    assert len(chosen(LOGITS, logprobs=50).top) == len(LOGITS)


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.5}, {"temperature": 1e-5}]
)
def test_what_is_no_number_is_never_chosen_before_one(settings: dict[str, object]) -> None:
    nan, inf = math.nan, math.inf
    assert chosen([nan, -inf, 1.0, nan], **settings).id == 2
    assert chosen([nan, inf, 1.0, -inf], **settings).id == 1
    assert chosen([nan, nan], logprobs=1, **settings).id in (0, 1)
