"""`sequence_batching` of config.pbtxt: what is read, what the engine gets of it, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from engines.model_config import WarmupInput
from engines.sequence_batching import Control, Direct, Oldest, SequenceBatching, State
from engines.sequence_tensors import with_sequence_tensors
from engines.tensor import BOOL, BYTES, FP32, INT32, UINT64, TensorSpec
from engines.warmup import warmup_batches
from tests.engines.config_text import BASE, model_folder, parameters, read, refusal

CONTROLS = """
control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ -1, 1 ] } }
control_input { name: "END" control { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } }
control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
control_input { name: "ID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
"""
STATE = 'state { input_name: "s" output_name: "t" data_type: TYPE_INT32 dims: [ -1, 2 ] %s }'


def sequences(inside: str) -> str:
    return f"{BASE}sequence_batching {{ {inside} }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = model_folder(tmp_path)
    (home / "initial_state").mkdir()
    (home / "initial_state" / "six").write_bytes(np.arange(6, dtype=np.int32).tobytes() + b"more")
    return home


def test_an_empty_block_is_direct_with_tritons_defaults(folder: Path) -> None:
    batching = read(sequences(""), folder).sequence_batching
    assert batching == SequenceBatching(Direct(), 1_000_000)
    assert batching.slots(8) == 8
    assert batching.slots(0) == 1


def test_the_strategies_are_read(folder: Path) -> None:
    direct = read(
        sequences("direct { max_queue_delay_microseconds: 5 minimum_slot_utilization: 0.5 }"), folder
    ).sequence_batching
    assert direct is not None
    assert direct.strategy == Direct(5, 0.5)
    oldest = read(
        sequences(
            "max_sequence_idle_microseconds: 7 oldest { max_candidate_sequences: 9 preferred_batch_size: [ 4, 2 ]"
            " max_queue_delay_microseconds: 3 preserve_ordering: true }"
        ),
        folder,
    ).sequence_batching
    assert oldest == SequenceBatching(Oldest(9, (2, 4), 3, True), 7)
    assert (oldest.slots(8), SequenceBatching(Oldest()).slots(8)) == (9, 8)


def test_the_controls_are_read(folder: Path) -> None:
    batching = read(sequences(CONTROLS), folder).sequence_batching
    assert batching is not None
    assert batching.controls == (
        Control("START", "CONTROL_SEQUENCE_START", FP32, -1.0, 1.0),
        Control("END", "CONTROL_SEQUENCE_END", BOOL, False, True),
        Control("READY", "CONTROL_SEQUENCE_READY", INT32, 0, 1),
        Control("ID", "CONTROL_SEQUENCE_CORRID", UINT64),
    )


def test_states_are_read_with_what_they_begin_with(folder: Path) -> None:
    first = 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ 3, 2 ] %s }'
    for text, wanted in (
        ("", State("s", "t", INT32, (-1, 2), (1, 2))),
        (first % "zero_data: true", State("s", "t", INT32, (-1, 2), (3, 2))),
        (
            first % 'data_file: "six"',
            State("s", "t", INT32, (-1, 2), (3, 2), np.arange(6, dtype=np.int32).tobytes()),
        ),
    ):
        batching = read(sequences(STATE % text), folder).sequence_batching
        assert batching is not None
        assert batching.states == (wanted,)


def test_the_engine_sees_controls_and_states_and_callers_do_not(folder: Path) -> None:
    config = read(sequences(CONTROLS + STATE % ""), folder)
    assert [spec.name for spec in config.inputs] == ["x"]
    made = with_sequence_tensors(config)
    assert made.inputs[1:] == (
        TensorSpec("START", FP32, (1,)),
        TensorSpec("END", BOOL, (1,)),
        TensorSpec("READY", INT32, (1,)),
        TensorSpec("ID", UINT64, (1,)),
        TensorSpec("s", INT32, (-1, 2)),
    )
    assert made.outputs == (*config.outputs, TensorSpec("t", INT32, (-1, 2)))
    assert with_sequence_tensors(read(BASE, folder)) == read(BASE, folder)


def test_warm_up_samples_are_filled_with_what_the_batcher_adds(folder: Path) -> None:
    sample = (
        'model_warmup { name: "w" batch_size: 2'
        ' inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] random_data: true } } }'
    )
    config = with_sequence_tensors(read(sequences(CONTROLS + STATE % "") + sample, folder))
    assert config.warmup[0].inputs[-1] == WarmupInput(TensorSpec("s", INT32, (1, 2)), "zero")
    (batch,) = warmup_batches(config)
    assert batch.inputs["s"].shape == (2, 1, 2)
    assert batch.inputs["ID"].shape == (2, 1)


REFUSED = [
    ("iterative_sequence: true", "sequence_batching.iterative_sequence: true is not supported; "),
    ('control_input { name: "x" }', "sequence_batching.control_input[0].name: 'x' is also the name of another input"),
    ('control_input { name: "A" }', "sequence_batching.control_input[0].control: 0 given; give exactly one"),
    ("control_input { control { } control { } }", "sequence_batching.control_input[0].name: is missing; "),
    ('control_input { name: "A" control { } }', "CONTROL_SEQUENCE_START takes exactly one of int32_false_true"),
    ('control_input { name: "A" control { int32_false_true: [ 1 ] } }', "int32_false_true: [1] given; give two values"),
    (
        'control_input { name: "A" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } }',
        "data_type: TYPE_FP32 is no type of a correlation id; use one of TYPE_UINT64",
    ),
    ('control_input { name: "A" control { kind: CONTROL_SEQUENCE_CORRID } }', "data_type: is missing; "),
    (
        'control_input { name: "A" control { kind: CONTROL_SEQUENCE_CORRID fp32_false_true: [ 0, 1 ] } }',
        "fp32_false_true: CONTROL_SEQUENCE_CORRID takes no such values",
    ),
    (
        'control_input { name: "A" control { int32_false_true: [ 0, 1 ] } }'
        ' control_input { name: "B" control { int32_false_true: [ 0, 1 ] } }',
        "sequence_batching.control_input: CONTROL_SEQUENCE_START is there twice",
    ),
    ("direct { minimum_slot_utilization: 1.5 }", "minimum_slot_utilization: 1.5 is no share"),
    ("oldest { max_candidate_sequences: -1 }", "max_candidate_sequences: -1 is not from 0 to 65536"),
    ("oldest { preferred_batch_size: 9 }", "oldest.preferred_batch_size[0]: 9 is not from 1 to max_batch_size, 8"),
    ("state { data_type: TYPE_FP32 dims: [ 1 ] }", "state[0].input_name: is missing; "),
    ('state { input_name: "x" output_name: "t" data_type: TYPE_FP32 }', "state[0].input_name: 'x' is there twice"),
    ('state { input_name: "s" output_name: "y" data_type: TYPE_INT32 dims: [ 2 ] }', "output 'y' has another type"),
    (STATE % "use_growable_memory: true", "state[0].use_growable_memory: true is not supported; "),
    (STATE % "use_same_buffer_for_input_output: true", "state[0].use_same_buffer_for_input_output: true is not sup"),
    (STATE % "initial_state { }", "initial_state[0].name: is missing; "),
    (STATE % 'initial_state { name: "i" data_type: TYPE_FP32 }', "data_type: differs from that of the state"),
    (
        STATE % 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ -1, 2 ] zero_data: true }',
        "dims: [-1, 2] does not fit the state's [-1, 2]",
    ),
    (
        STATE % 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ 4, 2 ] data_file: "six" }',
        "data_file: 'six': INT32 tensor of shape [4, 2] needs 32 bytes of binary data, found 28",
    ),
    (
        STATE % 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ 1, 2 ] data_file: "../labels.txt" }',
        "data_file: '../labels.txt' is no path inside its folder",
    ),
    (STATE % 'initial_state { name: "i" data_type: TYPE_INT32 dims: [ 1, 2 ] }', "initial_state[0]: has no data"),
]


@pytest.mark.parametrize(("inside", "expected"), REFUSED)
def test_what_is_wrong_is_told_by_its_name(folder: Path, inside: str, expected: str) -> None:
    assert expected in refusal(sequences(inside), folder)


def test_rows_of_sequences_hold_what_one_sequence_sends(folder: Path) -> None:
    ragged = sequences("%s").replace("dims: [ 4 ]", "dims: [ -1 ] allow_ragged_batch: true")
    assert "input[0].allow_ragged_batch: true contradicts the direct strategy" in refusal(ragged % "", folder)
    assert read(ragged % "oldest { }", folder).inputs[0].ragged


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("response_cache { enable: true }", "response_cache.enable: true contradicts sequence_batching"),
        (parameters(padding__x="0"), "sequence_batching: contradicts the parameters batchyard.padding.*"),
    ],
)
def test_what_does_not_go_with_sequences_is_refused(folder: Path, more: str, expected: str) -> None:
    text = sequences("").replace("dims: [ 4 ]", "dims: [ -1 ]") + more
    assert expected in refusal(text, folder)


def test_strings_may_be_states(folder: Path) -> None:
    text = 'state { input_name: "s" output_name: "t" data_type: TYPE_STRING dims: [ 2 ] }'
    batching = read(sequences(text), folder).sequence_batching
    assert batching is not None
    assert batching.states == (State("s", "t", BYTES, (2,), (2,)),)
