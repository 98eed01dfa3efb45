import numpy as np
import pytest

from engines.tensor import FP32, INT32, Signature, TensorSpec
from service.errors import InvalidRequestError
from service.intake import TensorIntake
from service.types import InferRequest

SIGNATURE = Signature(
    (TensorSpec("x", FP32, (2, -1)), TensorSpec("n", INT32, (1,), optional=True)), (TensorSpec("y", FP32, (2,)),), 4
)


def request(outputs: tuple[str, ...] = (), **inputs: np.ndarray) -> InferRequest:
    return InferRequest("m", inputs, outputs=outputs)


async def test_a_good_request_is_one_part_of_its_rows() -> None:
    job = await TensorIntake(SIGNATURE).check(request(x=np.zeros((3, 2, 5), np.float32)))
    assert job.rows == 3
    assert list(job.costs) == [3]
    assert len(job.parts) == 1


async def test_a_dimension_of_one_may_be_left_out() -> None:
    job = await TensorIntake(SIGNATURE).check(
        request(x=np.zeros((3, 2, 5), np.float32), n=np.array([1, 2, 3], np.int32))
    )
    assert job.parts[0]["n"].shape == (3, 1)


async def test_without_a_batch_dimension_the_shape_is_the_whole_shape() -> None:
    intake = TensorIntake(Signature((TensorSpec("x", FP32, (2,)),), ()))
    assert (await intake.check(request(x=np.zeros(2, np.float32)))).rows == 1
    with pytest.raises(InvalidRequestError, match=r"shape \[1, 2\], the model takes \[2\]"):
        await intake.check(request(x=np.zeros((1, 2), np.float32)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (request(), "'x' is missing"),
        (request(z=np.zeros(1)), "unknown input 'z'; the model takes x, n"),
        (request(x=np.zeros((1, 2, 5), np.float64)), "datatype FP64, the model takes FP32"),
        (request(x=np.zeros((1, 3, 5), np.float32)), r"shape \[1, 3, 5\], the model takes \[-1, 2, -1\]"),
        (request(x=np.zeros((1, 2), np.float32)), "shape"),
        (request(x=np.zeros((0, 2, 5), np.float32)), "a batch of 0, the model takes 1 to 4"),
        (request(x=np.zeros((5, 2, 5), np.float32)), "a batch of 5, the model takes 1 to 4"),
        (request(x=np.zeros((2, 2, 5), np.float32), n=np.zeros((1, 1), np.int32)), "a batch of 1, the inputs before"),
        (request(("w",), x=np.zeros((1, 2, 5), np.float32)), "unknown output 'w'; the model has y"),
    ],
)
async def test_bad_requests_are_told_what_is_wanted(bad: InferRequest, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        await TensorIntake(SIGNATURE).check(bad)


async def test_of_optional_inputs_at_least_one_is_given() -> None:
    specs = tuple(TensorSpec(name, FP32, (1,), optional=True) for name in "ab")
    intake = TensorIntake(Signature(specs, (), 4))
    with pytest.raises(InvalidRequestError, match="no input is given; give at least one of a, b"):
        await intake.check(request())
    assert (await intake.check(request(b=np.zeros((2, 1), np.float32)))).rows == 2
