"""Ensembles of any shape give what their steps give one after the other, and run no step that is not needed."""

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.tensor import Array
from tests.service.ensembles.models import Model, World, asking, offer, row, steps, tensors

Sources = list[tuple[int, int]]
"""Of each step, the numbers of the two tensors that it adds up; tensor 0 is the input, tensor n comes from step n."""


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Sources, set[int]]:
    """The steps' sources, and which of the outputs are wanted: at least one."""
    count = draw(st.integers(1, 8))
    sources = [(draw(st.integers(0, n)), draw(st.integers(0, n))) for n in range(count)]
    taken = {tensor for pair in sources for tensor in pair}
    outputs = [n for n in range(1, count + 1) if n not in taken]
    return sources, draw(st.sets(st.sampled_from(outputs), min_size=1))


def one_by_one(sources: Sources) -> list[Array]:
    found = [row(1, 2)]
    for number, (left, right) in enumerate(sources, start=1):
        found.append(found[left] + found[right] + number)
    return found


def needed(sources: Sources, wanted: set[int]) -> set[int]:
    found = set(wanted)
    for number in range(len(sources), 0, -1):
        if number in found:
            found.update(sources[number - 1])
    return found - {0}


@settings(deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_any_graph(graph: tuple[Sources, set[int]], random) -> None:  # type: ignore[no-untyped-def]
    """Steps answer in any order."""
    sources, wanted = graph
    taken = {tensor for pair in sources for tensor in pair}
    outputs = [f"T{n}" for n in range(1, len(sources) + 1) if n not in taken]
    lines = [f"m{n} i=T{left} j=T{right} -> o=T{n}" for n, (left, right) in enumerate(sources, start=1)]
    random.shuffle(lines)

    def adding(number: int) -> Model:
        return Model(offer("i j", "o"), lambda t: [{"o": t["i"] + t["j"] + np.float32(number)}])

    models = World(**{f"m{n}": adding(n) for n in range(1, len(sources) + 1)})
    infer = models.infer

    async def slowly(request):  # type: ignore[no-untyped-def]
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        return await infer(request)

    models.infer = slowly  # type: ignore[method-assign]
    ensemble = models.ensemble(tensors("T0", " ".join(outputs)) + steps(*lines))
    response = asyncio.run(ensemble.infer(asking(*(f"T{n}" for n in sorted(wanted)), T0=row(1, 2))))
    reference = one_by_one(sources)
    assert {name: array.tolist() for name, array in response.outputs.items()} == {
        f"T{n}": reference[n].tolist() for n in wanted
    }
    asked = {name: len(model.asked) for name, model in models.models.items()}
    assert asked == {f"m{n}": int(n in needed(sources, wanted)) for n in range(1, len(sources) + 1)}
