from service.generation.pace import Pace


def paced(step: float = 0.0, length: int = 0) -> Pace:
    pace = Pace()
    if step:
        pace.step_done(step)
    if length:
        pace.answer_done(length)
    return pace


def test_what_saw_nothing_predicts_nothing() -> None:
    pace = Pace()
    assert pace.until_first(1000) == 0
    assert pace.until_free([100, 100], [0, 0], 5) == 0


def test_an_empty_engine_is_free_at_once() -> None:
    assert paced(0.01, 50).until_free([], [], 0) == 0


def test_the_running_answer_that_ends_first_makes_room() -> None:
    pace = paced(0.01, 50)
    assert pace.until_free([500, 500, 20], [10, 30, 0], 0) == 0.01 * 20
    assert pace.until_free([500, 500, 40], [10, 30, 0], 1) == 0.01 * 40


def test_many_ahead_wait_for_whole_rounds() -> None:
    pace = paced(0.01, 50)
    assert pace.until_free([500, 500], [0, 0], 4) == 0.01 * (50 + 2 * 50)


def test_an_answer_longer_than_usual_ends_halfway_to_its_limit() -> None:
    assert paced(0.01, 50).until_free([100], [60], 0) == 0.01 * 50


def test_prompts_cost_their_tokens_and_a_step() -> None:
    pace = paced(0.01)
    pace.first_token(0.2, 100)
    assert pace.until_first(200) == 0.2 / 100 * 200 + 0.01


def test_means_follow_what_is_seen() -> None:
    pace = paced(0.01)
    for _ in range(100):
        pace.step_done(0.02)
    assert 0.0199 < pace.until_first(0) <= 0.02
