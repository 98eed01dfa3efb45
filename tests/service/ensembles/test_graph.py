"""What an ensemble's steps wait for, what is not needed, and what does not fit together."""

import numpy as np
import pytest

from engines.errors import ModelLoadError
from service.ensembles.graph import Graph, rebatched
from tests.service.ensembles.models import Model, World, offer, steps, tensors

DIAMOND = tensors("A", "D") + steps("left i=A -> o=B", "right i=A -> o=C", "join i=B j=C -> o=D")


def world(**offers: object) -> World:
    return World(**{name: Model(one, lambda _: []) for name, one in offers.items()})  # type: ignore[arg-type]


def known() -> World:
    one = offer("i", "o")
    return world(
        left=one, right=one, join=offer("i j", "o"), many=offer("i", "o", decoupled=True), two=offer("i", "o p")
    )


def graph(config: str, models: World | None = None) -> Graph:
    return (models or known()).ensemble(config).graph()


def test_takers_and_levels() -> None:
    found = graph(DIAMOND)
    assert [(node.step.model_name, node.level) for node in found.nodes] == [("left", 0), ("right", 0), ("join", 0)]
    assert [node.number for node in found.takers["A"]] == [0, 1]
    assert (found.makers["D"].number, found.depth) == (2, 0)


def test_what_is_behind_a_decoupled_step_is_a_level_of_its_own() -> None:
    config = tensors("A", "D E") + steps("many i=A -> o=B", "left i=B -> o=C", "many i=C -> o=D", "right i=D -> o=E")
    found = graph(config)
    assert [node.level for node in found.nodes] == [0, 1, 1, 2]
    assert found.depth == 2


def test_needed_steps() -> None:
    found = graph(tensors("A", "C D") + steps("left i=A -> o=B", "two i=B -> o=C p=E", "right i=E -> o=D"))
    assert {node.number for node in found.needed(["C"])} == {0, 1}
    assert {node.number for node in found.needed(["D"])} == {0, 1, 2}
    beside = graph(tensors("A", "B C") + steps("left i=A -> o=B", "right i=A -> o=C"))
    assert [node.number for node in beside.needed(["C"])] == [1]


def test_models_that_are_not_known_are_not_judged() -> None:
    found = graph(DIAMOND, world(left=offer("i", "o")))
    assert found.depth == 0
    assert all(node.batched for node in found.nodes)


SINGLE = tensors("A", "B") + steps("left i=A -> o=B")
REFUSED = {
    "input": (SINGLE.replace('"i"', '"x"'), {}, "it has no input 'x', only i; correct input_map"),
    "output": (SINGLE.replace('"o"', '"x"'), {}, "it has no output 'x', only o; correct output_map"),
    "unmapped": (SINGLE, {"left": offer("i j", "o")}, "its input 'j' is not mapped"),
    "batch": (SINGLE, {"left": offer("i", "o", batch=4)}, "it takes batches of up to 4, the ensemble of up to 8"),
    "shape": (
        SINGLE,
        {"left": offer("i", "o", dims=(3,))},
        r"tensor 'A' is FP32 \[-1, 2\] by the ensemble, but FP32 \[-1, 3\] by 'left'",
    ),
    "type": (SINGLE.replace("TYPE_FP32", "TYPE_INT8"), {}, r"tensor 'A' is INT8 .* but FP32 .* by 'left'"),
    "between": (
        tensors("A", "C") + steps("left i=A -> o=B", "right i=B -> o=C"),
        {"right": offer("i", "o", dims=(5,))},
        r"step\[1\], model 'right': tensor 'B' is FP32 \[-1, 2\] by 'left', but FP32 \[-1, 5\] by 'right'",
    ),
    "rank": (SINGLE, {"left": offer("i", "o", batch=0, dims=(2, 2, 2))}, r"tensor 'A' is .* but FP32 \[2, 2, 2\]"),
    "join": (
        tensors("A", "D") + steps("many i=A -> o=B", "join i=A j=B -> o=D"),
        {},
        "the inputs of step 'join' come from different decoupled models",
    ),
    "outputs": (
        tensors("A", "B C") + steps("many i=A -> o=B", "left i=A -> o=C"),
        {},
        "the outputs come from different decoupled models",
    ),
    "two": (
        tensors("A", "B C") + steps("many i=A -> o=B", "many i=A -> o=C"),
        {},
        "the outputs come from different decoupled models",
    ),
}


@pytest.mark.parametrize(("config", "changes", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_the_models_reason(config: str, changes: dict[str, object], why: str) -> None:
    models = known()
    models.models.update(world(**changes).models)
    ensemble = models.ensemble(config)
    with pytest.raises(ModelLoadError, match=why):
        ensemble.graph()
    assert ensemble.fault.startswith("ensemble 'chain': ")


def test_open_sizes_and_a_model_without_a_batch_dimension_fit() -> None:
    assert graph(SINGLE, world(left=offer("i", "o", dims=(-1,)))).depth == 0
    (node,) = graph(SINGLE, world(left=offer("i", "o", batch=0, dims=(-1, 2)))).nodes
    assert (node.batched, node.dims) == (False, {"i": (-1, 2)})


@pytest.mark.parametrize(
    ("shape", "dims", "batches", "wanted"),
    [
        ((2, 3), (2, 3), True, (1, 2, 3)),
        ((4, 2, 3), (2, 3), True, (4, 2, 3)),
        ((1, 2, 3), (2, 3), False, (2, 3)),
        ((4, 2), (-1, 2), False, (4, 2)),
        ((4, 2), (2,), False, (4, 2)),
    ],
)
def test_the_batch_dimension_between_models(
    shape: tuple[int, ...], dims: tuple[int, ...], batches: bool, wanted: tuple[int, ...]
) -> None:
    """A tensor that fits nowhere is left to the model to refuse."""
    assert rebatched(np.zeros(shape, np.float32), dims, batches).shape == wanted


def test_a_model_that_changes_is_looked_at_anew() -> None:
    models = known()
    ensemble = models.ensemble(SINGLE)
    assert (ensemble.fault, ensemble.decoupled) == ("", False)
    models.models["left"] = models.models["many"]
    assert (ensemble.fault, ensemble.decoupled) == ("", True)
    models.models["left"] = Model(offer("i", "o", dims=(3,)), lambda _: [])
    assert "[-1, 3] by 'left'" in ensemble.fault
    models.faults["left"] = "gone"
    assert ensemble.fault == "gone"


def test_a_version_that_is_not_served() -> None:
    models = world(right=offer("i", "o"))
    assert models.ensemble(SINGLE.replace("version: -1", "version: 3")).fault == (
        "ensemble 'chain': model 'left' has no version 3"
    )
