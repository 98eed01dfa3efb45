"""Laying texts into rows so that the rows are full. Pure functions over lengths."""

from collections.abc import Sequence

from engines.batch import Placement

_SEEDED = 0.5
_LOOKAHEAD = 48


def fill_rows(lengths: Sequence[int], width: int, rows: int, segments: int) -> dict[int, Placement]:
    """Fills `rows` rows of `width` tokens; returns where each text that was taken lies, by its index in `lengths`.

    Earlier texts go first: a row takes the next ones until it is half full, then the subset of those after them whose
    lengths come nearest to the room that is left. A row holds at most `segments` texts.
    Source: minimum bin slack, J. N. D. Gupta and J. C. Ho, "A new heuristic algorithm for the one-dimensional
    bin-packing problem", Production Planning & Control 10(6), 1999.
    """
    left = [index for index, length in enumerate(lengths) if length <= width]
    placed: dict[int, Placement] = {}
    for row in range(rows):
        taken = _one_row([lengths[index] for index in left], width, segments)
        start = 0
        for segment, position in enumerate(taken):
            index = left[position]
            placed[index] = Placement(row, start, segment)
            start += lengths[index]
        chosen = set(taken)
        left = [index for position, index in enumerate(left) if position not in chosen]
        if not left:
            break
    return placed


def pack_all(lengths: Sequence[int], width: int, rows: int, segments: int) -> list[Placement] | None:
    """Places every text in at most `rows` rows, the longest first; None where that fails."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    placed = fill_rows([lengths[index] for index in order], width, rows, segments)
    if len(placed) < len(lengths):
        return None
    by_index = {order[position]: place for position, place in placed.items()}
    return [by_index[index] for index in range(len(lengths))]


def _one_row(lengths: Sequence[int], width: int, segments: int) -> list[int]:
    seeds: list[int] = []
    room = width
    position = 0
    while position < len(lengths) and len(seeds) < segments and room > width * _SEEDED:
        if lengths[position] <= room:
            seeds.append(position)
            room -= lengths[position]
        position += 1
    rest = range(position, min(len(lengths), position + _LOOKAHEAD))
    fill = nearest_sum([lengths[p] for p in rest], room)
    return seeds + [position + offset for offset in fill][: segments - len(seeds)]


def nearest_sum(lengths: Sequence[int], room: int) -> list[int]:
    """Indices of the subset whose sum is the largest not over `room`, earlier ones preferred.

    Subset sum by dynamic programming: bit s of a state says that s can be reached.
    """
    mask = (1 << (room + 1)) - 1
    states = [1]
    for length in lengths:
        states.append((states[-1] | states[-1] << length) & mask)
        if states[-1] >> room & 1:
            break
    total = states[-1].bit_length() - 1
    chosen: list[int] = []
    for index in range(len(states) - 2, -1, -1):
        if not states[index] >> total & 1:
            chosen.append(index)
            total -= lengths[index]
    return chosen[::-1]
