"""An engine in a process of its own: real processes, their right answers, and each way in which they are lost."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from engines import Backend, apart_life, open_engine, open_generator
from engines.apart_engine import ApartEngine
from engines.base import EngineOptions
from engines.batch import Batch
from engines.config.pbtxt import parse
from engines.errors import (
    EngineError,
    EngineLostError,
    EngineMemoryError,
    ExecutionError,
    InvalidInputError,
    InvalidOutputError,
    MissingBackendError,
    ModelLoadError,
)
from engines.identity import EXIT_CODE
from engines.tensor import BYTES, DATA_TYPES, Array, DataType
from tests.engines.config_text import parameters
from tests.engines.small_onnx import DOUBLED, ROWS, double
from tests.engines.small_onnx import options as onnx_options

TENSORS = """
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""
ISOLATED = parameters(isolation="process")
LARGE = np.random.default_rng(2).random((16, 100_000), np.float32)
FAIL, CRASH, MEMORY, EXIT, HANG = 11, 12, 13, 14, 15

Open = Callable[..., ApartEngine]


def options(folder: Path, tensors: str = TENSORS, backend: str = "identity", **given: str) -> EngineOptions:
    text = f'backend: "{backend}" max_batch_size: 64\n{tensors}\n{parameters(isolation="process", **given)}'
    return EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """Opens identity in a process of its own; closes it in the end."""
    opened: list[ApartEngine] = []

    def _start(tensors: str = TENSORS, **given: str) -> ApartEngine:
        engine = open_engine(options(tmp_path, tensors, **given))
        assert isinstance(engine, ApartEngine)
        opened.append(engine)
        return engine

    yield _start
    for engine in opened:
        engine.close()


@pytest.fixture
def faulty(start: Open) -> ApartEngine:
    faults = {"fail": FAIL, "crash": CRASH, "memory": MEMORY, "exit": EXIT, "hang": HANG}
    return start(watchdog_ms="400", **{f"identity__{fault}_on_value": str(value) for fault, value in faults.items()})


def rows(*firsts: float) -> Batch:
    return Batch({"x": np.array([[first, 0.5] for first in firsts], np.float32)}, len(firsts))


def run(engine: ApartEngine, batch: Batch) -> Array:
    return engine.run(batch)["y"]


def _is_gone(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


def _values(datatype: DataType, *shape: int) -> Array:
    if datatype is BYTES:
        words = [b"", b"\0", b"card", "é猫".encode(), b"a" * 300]
        array = np.empty(shape, object)
        array.reshape(-1)[:] = [words[i % len(words)] for i in range(array.size)]
        return array
    raw = np.random.default_rng(1).integers(0, 2 if datatype.name == "BOOL" else 256, np.prod(shape) * datatype.size)
    array = raw.astype(np.uint8).view(datatype.numpy).reshape(shape)
    return np.nan_to_num(array) if array.dtype.kind == "f" else array


def test_every_datatype_comes_back_as_it_was(start: Open) -> None:
    names = list(DATA_TYPES)
    tensors = "".join(
        f'{side} {{ name: "{side}_{name}" data_type: {DATA_TYPES[name].config_name} dims: [ -1, -1 ] }}\n'
        for side in ("input", "output")
        for name in names
    )
    engine = start(tensors)
    engine.warm_up()
    for shape in ((2, 3, 4), (1, 1, 1), (3, 0, 2), (2, 5, 0)):
        inputs = {f"input_{name}": _values(DATA_TYPES[name], *shape) for name in names}
        outputs = engine.run(Batch(inputs, shape[0]))
        for name in names:
            sent, found = inputs[f"input_{name}"], outputs[f"output_{name}"]
            assert (found.dtype, found.shape) == (sent.dtype, shape)
            assert np.array_equal(found, sent)


@pytest.mark.parametrize("values", [LARGE, LARGE.T[:8], LARGE[::4, :1]], ids=["large", "transposed", "every fourth"])
def test_tensors_of_any_size_and_order_come_back_as_they_were(values: Array, start: Open) -> None:
    found = run(start(), Batch({"x": values}, len(values)))
    assert np.array_equal(found, values)
    assert found.flags.writeable


def test_its_signature_is_that_of_the_configuration(start: Open) -> None:
    signature = start().signature
    assert [(spec.name, spec.shape) for spec in signature.outputs] == [("y", (-1,))]
    assert signature.max_batch_size == 64


def test_onnx_runtime_answers_from_there(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    double(tmp_path / "1" / "model.onnx", "n", 3)
    engine = open_engine(onnx_options(tmp_path, "onnxruntime", ROWS + DOUBLED + ISOLATED))
    engine.warm_up()
    assert run(engine, Batch({"x": np.array([[1, 2, 3]], np.float32)}, 1)).tolist() == [[2, 4, 6]]
    engine.close()


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (FAIL, ExecutionError, "row 1 holds .* told to fail"),
        (CRASH, ExecutionError, "RuntimeError: row 1 holds"),
        (MEMORY, EngineMemoryError, "told to run out of memory"),
    ],
)
def test_errors_keep_their_class_and_cost_no_process(
    value: int, kind: type[EngineError], message: str, faulty: ApartEngine
) -> None:
    with pytest.raises(kind, match=message) as raised:
        faulty.run(rows(1, value))
    assert raised.type is kind
    assert run(faulty, rows(1, 2)).tolist() == [[1, 0.5], [2, 0.5]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 2), np.int32), "numpy dtype int32, wanted FP32"),
        (np.zeros((1, 2), np.complex64), "no wire datatype"),
        (np.zeros(1, np.float32), "wanted"),
    ],
)
def test_bad_inputs_are_refused_and_cost_no_process(array: Array, message: str, start: Open) -> None:
    engine = start()
    with pytest.raises(InvalidInputError, match=message):
        engine.run(Batch({"x": array}, 1))
    assert run(engine, rows(3)).tolist() == [[3, 0.5]]


def test_a_process_that_ends_itself_is_lost_with_its_code(faulty: ApartEngine) -> None:
    with pytest.raises(EngineLostError, match=f"ended with code {EXIT_CODE}"):
        faulty.run(rows(1, EXIT))
    with pytest.raises(EngineError, match="closed"):
        faulty.run(rows(1))


def test_a_process_that_hangs_is_ended(faulty: ApartEngine) -> None:
    with pytest.raises(
        EngineLostError, match=r"made no progress for 0\.4 s and was ended; where a batch may take longer, raise"
    ):
        faulty.run(rows(HANG))
    assert _is_gone(faulty.process_id)


def test_a_process_that_is_killed_while_it_runs_is_lost_with_its_signal(start: Open) -> None:
    engine = start(identity__hang_on_value=str(HANG), watchdog_ms="60000")
    killing = Timer(0.1, os.kill, (engine.process_id, signal.SIGKILL))
    killing.start()
    with pytest.raises(EngineLostError, match=r"by signal 9 \(Killed\)"):
        engine.run(rows(HANG))
    killing.join()
    assert _is_gone(engine.process_id)


def test_a_process_that_is_killed_while_it_is_idle_does_not_blame_the_next_batch(start: Open) -> None:
    engine = start()
    os.kill(engine.process_id, signal.SIGKILL)
    os.waitid(os.P_PID, engine.process_id, os.WEXITED | os.WNOWAIT)
    with pytest.raises(EngineLostError, match=r"by signal 9 \(Killed\)") as lost:
        engine.run(rows(1))
    assert lost.value.idle


def test_a_process_that_stops_before_it_reads_a_large_batch_is_ended(start: Open) -> None:
    engine = start(watchdog_ms="300")
    os.kill(engine.process_id, signal.SIGSTOP)
    with pytest.raises(EngineLostError, match="no progress"):
        engine.run(Batch({"x": np.zeros((8, 1_000_000), np.float32)}, 8))
    assert _is_gone(engine.process_id)


def test_closing_ends_the_process_also_one_that_does_not_listen(start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart_life, "END_SECONDS", 0.1)
    willing, stopped = start(), start()
    os.kill(stopped.process_id, signal.SIGSTOP)
    for engine in (willing, stopped):
        engine.close()
        engine.close()
        assert _is_gone(engine.process_id)


def test_the_signals_of_a_terminal_do_not_end_it(start: Open) -> None:
    engine = start()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine.process_id, number)
    assert run(engine, rows(1)).tolist() == [[1, 0.5]]


PARENT = """
import sys
from pathlib import Path
from tests.engines.test_apart_engine import Backend, open_engine, options, rows
engine = open_engine(options(Path(sys.argv[1]), backend="own"), {"own": Backend("own_engine")})
engine.run(rows(1))
"""
NEVER_ENDING = """
import time
class Engine:
    def run(self, batch):
        print("running", flush=True)
        time.sleep(600)
def open_engine(options):
    return Engine()
"""


def test_a_process_in_the_middle_of_a_run_does_not_outlive_a_killed_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _backends(tmp_path, monkeypatch, NEVER_ENDING)
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"running\n"
        parent.kill()
        # Both write to this pipe, so it ends with the last of them.
        assert parent.communicate(timeout=30) == (b"", None)


def test_it_inherits_no_socket(start: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        address = listener.getsockname()
        engine = start()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    assert run(engine, rows(1)).tolist() == [[1, 0.5]]


def test_a_machine_that_has_no_process_left_is_an_error_of_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    with pytest.raises(ModelLoadError, match=r"cannot be started: .* free memory, open files or processes"):
        open_engine(options(tmp_path))


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"delay_ms' is 'soon'"):
        open_engine(options(tmp_path, identity__delay_ms="soon"))


def _backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> dict[str, Backend]:
    (tmp_path / "own_engine.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return {"own": Backend("own_engine", "an_sdk_nobody_has", "own")}


def test_a_process_that_ends_while_it_opens_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = _backends(tmp_path, monkeypatch, "def open_engine(options):\n    import os\n    os.abort()\n")
    with pytest.raises(EngineLostError, match="by signal 6"):
        open_engine(options(tmp_path, backend="own"), backends)


def test_a_missing_sdk_keeps_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = _backends(tmp_path, monkeypatch, "def open_engine(options):\n    import an_sdk_nobody_has\n")
    with pytest.raises(MissingBackendError, match="needs the an_sdk_nobody_has package: pip install"):
        open_engine(options(tmp_path, backend="own"), backends)


OWN = """
import numpy as np
from engines.errors import EngineMemoryError
class TooLarge(EngineMemoryError): pass
class Engine:
    def run(self, batch):
        match batch.size:
            case 1: raise TooLarge("too large")
            case 2: raise MemoryError("no memory")
            case 3: return {"y": np.zeros(1, np.complex64)}
        return {"y": np.ones((batch.size, 1), np.float32)}
def open_engine(options):
    return Engine()
"""


def test_what_has_no_class_here_gets_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(options(tmp_path, backend="own"), _backends(tmp_path, monkeypatch, OWN))
    with pytest.raises(EngineMemoryError, match="too large"):
        engine.run(rows(0))
    with pytest.raises(EngineMemoryError, match="no memory"):
        engine.run(rows(0, 0))
    with pytest.raises(InvalidOutputError, match="complex64 has no wire datatype"):
        engine.run(rows(0, 0, 0))
    assert len(engine.run(rows(0, 0, 0, 0))["y"]) == 4
    engine.close()


def test_a_generator_that_cannot_be_isolated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"'echo' cannot generate in a process of its own; remove"):
        open_generator(options(tmp_path, backend="echo"))
