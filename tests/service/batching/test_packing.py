import random

from hypothesis import given
from hypothesis import strategies as st

from service.batching.packing import fill_rows, nearest_sum, pack_all


@given(st.lists(st.integers(1, 40), max_size=14), st.integers(0, 120))
def test_nearest_sum_is_the_best_subset(lengths: list[int], room: int) -> None:
    reachable = {0}
    for length in lengths:
        reachable |= {total + length for total in reachable}
    chosen = nearest_sum(lengths, room)
    assert len(set(chosen)) == len(chosen)
    assert sum(lengths[i] for i in chosen) == max(total for total in reachable if total <= room)


@given(st.lists(st.integers(1, 90), max_size=80), st.sampled_from([16, 32, 64, 128]), st.integers(1, 8))
def test_texts_never_overlap_nor_cross_a_row(lengths: list[int], width: int, rows: int) -> None:
    placed = fill_rows(lengths, width, rows, width // 4)
    taken: set[tuple[int, int]] = set()
    for index, place in placed.items():
        assert place.row < rows
        assert place.segment < width // 4
        assert place.start + lengths[index] <= width
        tokens = {(place.row, place.start + offset) for offset in range(lengths[index])}
        assert not taken & tokens
        taken |= tokens
    segments = [(place.row, place.segment) for place in placed.values()]
    assert len(set(segments)) == len(segments)


def test_the_most_urgent_text_is_always_taken() -> None:
    assert 0 in fill_rows([60, *[4] * 50], 64, 1, 16)


def test_rows_are_full_where_enough_texts_wait() -> None:
    generator = random.Random(7)
    lengths = [max(3, min(82, int(generator.lognormvariate(2.6, 0.45)))) for _ in range(64)]
    placed = fill_rows(lengths, 64, 8, 16)
    assert sum(lengths[index] for index in placed) / (64 * 8) > 0.98


@given(st.lists(st.integers(1, 64), min_size=1, max_size=24))
def test_pack_all_places_every_text_or_none(lengths: list[int]) -> None:
    for rows in (1, 2, 4, 8, 24):
        places = pack_all(lengths, 64, rows, 16)
        assert places is None or len(places) == len(lengths)
    assert pack_all(lengths, 64, 24, 16) is not None


def test_pack_all_finds_the_perfect_packing() -> None:
    places = pack_all([40, 24, 33, 31, 60, 4], 64, 3, 16)
    assert places is not None
    assert {place.row for place in places} == {0, 1, 2}
