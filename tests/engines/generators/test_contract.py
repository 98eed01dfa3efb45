"""The contract of `engines.text_generator.TextGenerator`: every generator passes every test here."""

import importlib.util
from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

import numpy as np
import pytest

from engines import open_generator
from engines.errors import EngineError, InvalidInputError
from engines.generation import Feature
from engines.text_generator import GenerationRequest, Sampling, TextGenerator
from tests.engines.generators.cases import CASES, Case
from tests.engines.generators.driving import Drive, answers, ids, request


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.param
    for package in case.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{case.name}: the {package} package is not installed")
    return case


@pytest.fixture(scope="module")
def generator(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextGenerator]:
    generator = open_generator(case.build(tmp_path_factory.mktemp("models") / "m"))
    generator.warm_up()
    yield generator
    generator.close()


def needs(generator: TextGenerator, feature: Feature) -> None:
    if feature not in generator.features:
        pytest.skip(f"it does not have {feature}")


def test_limits_and_features_are_sound(generator: TextGenerator) -> None:
    limits = generator.limits
    assert 1 < limits.window <= limits.kv_tokens
    assert limits.sequences >= 1
    assert limits.kv_block >= 1
    assert generator.features <= set(get_args(Feature))


def test_nothing_is_left_of_warming_up(generator: TextGenerator) -> None:
    assert list(generator.step()) == []


def test_answers_end_at_max_tokens(generator: TextGenerator, case: Case) -> None:
    for most in (1, 2, 7):
        (answer,) = answers(generator, request(case.prompts[0], most, ignore_eos=True))
        assert (len(answer.tokens), answer.finish) == (most, "length")


def test_an_answer_is_the_same_alone_and_among_others(generator: TextGenerator, case: Case) -> None:
    wanted = [request(prompt, 8, ignore_eos=True) for prompt in case.prompts]
    alone = [ids(generator, one) for one in wanted]
    assert [answer.ids for answer in answers(generator, *wanted)] == alone


def test_one_that_joins_later_changes_no_other(generator: TextGenerator, case: Case) -> None:
    first, second = (request(prompt, 8, ignore_eos=True) for prompt in case.prompts[:2])
    alone = [ids(generator, first), ids(generator, second)]
    drive = Drive(generator)
    one = drive.add(first)
    drive.run(lambda: len(drive.tokens[one]) >= 3)
    two = drive.add(second)
    drive.run()
    assert [drive.answer(one).ids, drive.answer(two).ids] == alone


@pytest.mark.parametrize("place", range(4))
def test_after_a_cancel_no_event_follows_and_the_others_go_on(generator: TextGenerator, case: Case, place: int) -> None:
    wanted = [request(prompt, 8, ignore_eos=True) for prompt in case.prompts]
    alone = [ids(generator, one) for one in wanted]
    drive = Drive(generator)
    added = [drive.add(one) for one in wanted]
    drive.run(lambda: len(drive.tokens[added[place]]) >= 2)
    drive.cancel(added[place])
    drive.run()
    others = [number for number in range(len(wanted)) if number != place]
    assert [drive.answer(added[number]).ids for number in others] == [alone[number] for number in others]


def test_a_cancel_before_the_first_step_leaves_nothing(generator: TextGenerator, case: Case) -> None:
    drive = Drive(generator)
    drive.cancel(drive.add(request(case.prompts[0])))
    assert list(drive.step()) == []


def test_unknown_and_finished_requests_may_be_cancelled(generator: TextGenerator, case: Case) -> None:
    drive = Drive(generator)
    done = drive.add(request(case.prompts[0], 1))
    drive.run()
    generator.cancel(done)
    generator.cancel(done)
    generator.cancel(2**40)


def test_all_places_are_filled_again_and_again(generator: TextGenerator, case: Case) -> None:
    wanted = request(case.prompts[1], 3, ignore_eos=True)
    alone = ids(generator, wanted)
    for _ in range(3):
        many = answers(generator, *[wanted] * min(8, generator.limits.sequences))
        assert all(answer.ids == alone for answer in many)


def test_a_seed_gives_the_same_answer_whoever_shares_the_batch(generator: TextGenerator, case: Case) -> None:
    needs(generator, "seed")
    wanted = request(case.prompts[0], 8, temperature=1.0, seed=11, ignore_eos=True)
    other = request(case.prompts[2], 8, temperature=1.0, seed=12, ignore_eos=True)
    ids(generator, wanted)  # from here on its prompt is in the cache, where there is one
    alone = ids(generator, wanted)
    assert ids(generator, wanted) == alone
    if case.exact:
        assert answers(generator, other, wanted)[1].ids == alone


def test_logprobs_come_where_they_are_wanted(generator: TextGenerator, case: Case) -> None:
    needs(generator, "logprobs")
    with_, without = (request(case.prompts[0], 3, logprobs=wanted, ignore_eos=True) for wanted in (0, None))
    found = answers(generator, with_, without)
    assert found[0].ids == found[1].ids
    assert all(token.logprob <= 0 and not token.top for token in found[0].tokens)


def test_cached_tokens_come_first_and_are_fewer_than_the_prompt(generator: TextGenerator, case: Case) -> None:
    drive = Drive(generator)
    drive.add(request(case.prompts[0], 4, ignore_eos=True))
    events = []
    while not drive.finished:
        events += drive.step()
    assert 0 <= events[0].cached_tokens < len(case.prompts[0])
    assert not any(event.cached_tokens for event in events[1:])


def test_what_does_not_fit_is_refused(generator: TextGenerator, case: Case) -> None:
    window = generator.limits.window
    generator.check(request(case.prompts[0], window - len(case.prompts[0])))
    for prompt, most in ((case.prompts[0], window), ((), 4), ((7,) * window, 1)):
        with pytest.raises(InvalidInputError):
            generator.check(request(prompt, most))


def test_a_full_window_is_answered(generator: TextGenerator) -> None:
    wanted = GenerationRequest(np.full(generator.limits.window - 4, 7), Sampling(4, temperature=0.0, ignore_eos=True))
    assert len(ids(generator, wanted)) == 4


def test_closing_twice_is_fine_and_a_closed_one_answers_nothing(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    generator = open_generator(case.build(tmp_path_factory.mktemp("models") / "m"))
    generator.add(request(case.prompts[0]))
    generator.close()
    generator.close()
    generator.cancel(0)
    with suppress(EngineError):
        assert list(generator.step()) == []
