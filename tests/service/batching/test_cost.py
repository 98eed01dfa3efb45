import pytest

from service.batching.cost import CostModel, Shape


def _seconds(shape: Shape) -> float:
    return 0.001 + 40e-6 * shape.slots + 1e-8 * shape.rows * shape.width**2


def test_unseen_shapes_are_predicted_from_seen_ones() -> None:
    model = CostModel()
    for shape in (Shape(1, 16), Shape(8, 64), Shape(2, 256), Shape(4, 32), Shape(1, 128)):
        model.record(shape, _seconds(shape))
    for shape in (Shape(4, 64), Shape(2, 128), Shape(1, 256)):
        assert model.predict(shape) == pytest.approx(_seconds(shape), rel=0.1)


def test_a_seen_shape_follows_its_own_mean() -> None:
    model = CostModel()
    model.record(Shape(4, 64), 0.010)
    for _ in range(30):
        model.record(Shape(4, 64), 0.020)
    assert model.predict(Shape(4, 64)) == pytest.approx(0.020, rel=0.01)


def test_weights_are_never_negative() -> None:
    model = CostModel()
    model.record(Shape(8), 0.001)
    model.record(Shape(1), 0.002)
    assert model.predict(Shape(4096)) >= 0


def test_nothing_recorded_predicts_nothing() -> None:
    assert CostModel().predict(Shape(4, 64)) == 0
    assert CostModel().best_rate([Shape(4, 64)]) == float("inf")


def test_one_stall_does_not_refuse_what_follows() -> None:
    model = CostModel()
    model.record(Shape(1, 16), 0.003)
    model.record(Shape(1, 16), 5.0)
    assert model.predict(Shape(1, 16)) < 0.004


def test_the_shapes_that_are_remembered_are_bounded() -> None:
    model = CostModel()
    for width in range(1, 10_000):
        model.record(Shape(1, width), 0.001 * (1 + width % 2))
    assert model.predict(Shape(1, 9_999)) == pytest.approx(0.002)
    assert model.predict(Shape(1, 1)) not in (0.002, 0.001)


def test_a_machine_that_is_fast_again_is_found_out_soon() -> None:
    model = CostModel()
    model.record(Shape(1, 16), 0.100)
    for _ in range(4):
        model.record(Shape(1, 16), 0.010)
    assert model.predict(Shape(1, 16)) < 0.020


def test_the_best_shape_has_the_highest_rate() -> None:
    model = CostModel()
    model.record(Shape(4, 64), 0.010)
    model.record(Shape(1, 256), 0.020)
    assert model.best([Shape(1, 256), Shape(4, 64)]) == (256, 0.010)
