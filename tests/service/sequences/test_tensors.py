"""Control tensors and implicit state: what is added to a request of a sequence, and taken out of its answer."""

import numpy as np
import pytest

from engines.sequence_batching import Control, State
from engines.tensor import BOOL, BYTES, FP32, INT32, INT64, UINT64, DataType, TensorSpec
from service.errors import InvalidRequestError
from service.sequences.controls import Controls
from service.sequences.states import States
from service.types import InferRequest, SequenceStep

START = Control("START", "CONTROL_SEQUENCE_START", INT32, -1, 5)
END = Control("END", "CONTROL_SEQUENCE_END", FP32, 0.5, 1.5)
READY = Control("READY", "CONTROL_SEQUENCE_READY", BOOL, False, True)


def ids(datatype: DataType) -> Control:
    return Control("CORRID", "CONTROL_SEQUENCE_CORRID", datatype)


def request(name: int | str | None) -> InferRequest:
    return InferRequest("m", {}, sequence=None if name is None else SequenceStep(name))


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [(False, False, (-1, 0.5)), (True, False, (5, 0.5)), (False, True, (-1, 1.5)), (True, True, (5, 1.5))],
)
def test_flags_hold_the_values_that_the_configuration_gives(start: bool, end: bool, wanted: tuple[float, ...]) -> None:
    made = Controls((START, END, READY), 8).tensors(SequenceStep(1, start, end))
    assert {name: array.dtype.name for name, array in made.items()} == {
        "START": "int32",
        "END": "float32",
        "READY": "bool",
    }
    assert all(array.shape == (1, 1) for array in made.values())
    assert (made["START"].item(), made["END"].item()) == wanted
    assert made["READY"].item() is True


def test_a_model_without_a_batch_dimension_gets_one_dimension() -> None:
    made = Controls((START, ids(INT64)), 0).tensors(SequenceStep(3))
    assert [array.shape for array in made.values()] == [(1,), (1,)]


@pytest.mark.parametrize(("datatype", "name"), [(UINT64, 2**64 - 1), (INT64, 2**63 - 1), (INT32, 7), (BYTES, "a b")])
def test_the_correlation_id_is_a_tensor(datatype: DataType, name: int | str) -> None:
    controls = Controls((ids(datatype),), 8)
    step = controls.check(request(name))
    made = controls.tensors(step)["CORRID"]
    assert made.dtype == datatype.numpy
    assert made.item() == (name.encode() if isinstance(name, str) else name)


@pytest.mark.parametrize(
    ("datatype", "name", "said", "triton"),
    [
        (UINT64, None, "belongs to none", "inference request to model 'm' must specify a non-zero or non-empty"),
        (
            UINT64,
            "a",
            "takes a number",
            "sequence batching control 'CORRID' data-type is 'BYTES', but model 'm' expects",
        ),
        (BYTES, 4, "takes a string", "sequence batching control 'CORRID' data-type is 'UINT64', but model 'm' expects"),
        (INT32, 2**31, "is not from -2147483648 to 2147483647", ""),
        (UINT64, -5, "is not from 0 to 18446744073709551615", ""),
    ],
)
def test_ids_that_do_not_fit_are_refused(datatype: DataType, name: int | str | None, said: str, triton: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        Controls((ids(datatype),), 8).check(request(name))
    assert caught.value.triton.startswith(triton)


def test_states_begin_with_zeros_and_go_from_answer_to_request() -> None:
    states = States((State("IN", "OUT", FP32, (-1,), (1,)),), (TensorSpec("Y", FP32, (1,)),), 8)
    first = states.first()
    assert first["IN"].tolist() == [[0.0]]
    batch = np.arange(6, dtype=np.float32).reshape(2, 3)
    outputs = {"Y": batch[:1], "OUT": batch[1:]}
    after = states.after(first, outputs)
    assert list(outputs) == ["Y"]
    assert after["IN"].tolist() == [[3.0, 4.0, 5.0]]
    assert after["IN"].base is None, "it would keep the whole batch"
    assert states.first()["IN"].tolist() == [[0.0]]


def test_a_state_that_is_an_output_too_is_answered() -> None:
    states = States((State("IN", "OUT", FP32, (1,), (1,)),), (TensorSpec("OUT", FP32, (1,)),), 8)
    outputs = {"OUT": np.ones((1, 1), np.float32)}
    assert states.after(states.first(), outputs)["IN"].tolist() == [[1.0]]
    assert "OUT" in outputs


def test_an_answer_without_the_state_leaves_it_as_it_was() -> None:
    states = States((State("IN", "OUT", BYTES, (2,), (2,)),), (), 0)
    assert states.first()["IN"].tolist() == [b"", b""]
    assert states.after({"IN": np.array([b"a", b"b"], object)}, {})["IN"].tolist() == [b"a", b"b"]


def test_states_begin_with_the_bytes_of_a_file() -> None:
    raw = np.array([3, 4], np.int32).tobytes()
    states = States((State("IN", "OUT", INT32, (-1,), (2,), raw),), (), 4)
    assert states.first()["IN"].tolist() == [[3, 4]]
