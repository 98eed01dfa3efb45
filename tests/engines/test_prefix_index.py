"""The mirror of the engine's blocks, by itself; test_openvino_genai.py compares it with the engine."""

from engines.prefix_index import PrefixIndex, PrefixTrail

BLOCK = 4


def run(index: PrefixIndex, prompt: list[int], answer: list[int]) -> int:
    """A whole sequence; the tokens of its prompt that were there."""
    trail = begin(index, prompt)
    for token in answer[:-1]:
        trail.grow(token)
    trail.end()
    return trail.cached_tokens


def begin(index: PrefixIndex, prompt: list[int]) -> PrefixTrail:
    trail = index.begin(prompt)
    trail.computed()
    return trail


def test_whole_blocks_are_found_again_up_to_the_last_token() -> None:
    index = PrefixIndex(BLOCK, 100)
    assert run(index, list(range(10)), [90]) == 0
    assert run(index, list(range(8)), [90]) == 7, "the last token is computed in any case"
    assert run(index, [*range(8), 50, 51], [90]) == 8
    assert run(index, [*range(4), 60, 61, 62], [90]) == 4
    assert run(index, [99, *range(8)], [90]) == 0, "a block is known by all that is before it"


def test_an_answer_is_found_as_part_of_the_next_prompt() -> None:
    index = PrefixIndex(BLOCK, 100)
    run(index, list(range(6)), [20, 21, 22, 23, 24])
    assert run(index, [*range(6), 20, 21, 22, 23, 24, 30, 31], [90]) == 10, "all but the last token of the answer"


def test_a_partial_block_is_found_as_it_ended() -> None:
    index = PrefixIndex(BLOCK, 100)
    run(index, list(range(6)), [90])
    assert run(index, [*range(6), 40, 41], [90]) == 6
    assert run(index, [*range(5), 40, 41], [90]) == 4


def test_one_that_writes_on_in_a_partial_block_takes_it() -> None:
    index = PrefixIndex(BLOCK, 100)
    run(index, list(range(6)), [90])
    run(index, list(range(6)), [20, 21, 22])
    assert run(index, [*range(6), 40, 41], [90]) == 4


def test_prompts_that_run_share_what_is_computed() -> None:
    index = PrefixIndex(BLOCK, 100)
    first = index.begin(list(range(9)))
    assert index.begin(list(range(9))).cached_tokens == 0, "nothing of it went through the engine yet"
    first.computed()
    assert index.begin(list(range(9))).cached_tokens == 8


def test_the_least_recently_used_goes_first() -> None:
    index = PrefixIndex(BLOCK, 4)
    run(index, list(range(8)), [90])
    run(index, list(range(100, 108)), [90])
    assert run(index, [*range(8), 50], [90]) == 8
    assert run(index, [*range(100, 108), 50], [90]) == 0
    assert run(index, [*range(8), 50], [90]) == 0


def test_blocks_in_use_stay() -> None:
    index = PrefixIndex(BLOCK, 4)
    running = begin(index, list(range(8)))
    for start in range(100, 200, 10):
        run(index, list(range(start, start + 8)), [90])
    assert index.begin(list(range(9))).cached_tokens == 8
    running.end()


def test_after_clearing_nothing_is_known() -> None:
    index = PrefixIndex(BLOCK, 100)
    run(index, list(range(8)), [90])
    index.clear()
    assert run(index, list(range(8)), [90]) == 0
