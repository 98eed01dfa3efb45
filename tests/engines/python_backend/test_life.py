"""How a model's process begins and ends: as it should, and in every other way."""

import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines import complete_config
from engines.base import EngineOptions
from engines.errors import EngineError, EngineLostError, ExecutionError, InvalidInputError, ModelLoadError
from engines.python_backend import process
from engines.tensor import Array
from tests.engines.python_backend.calling import Answers, call, outputs, run, strings
from tests.engines.python_backend.conftest import Opener

ROWS = np.array([[1.0]], np.float32)
HELPER = "def write(file, text):\n    open(file, 'a').write(text)\n"


def told(what: str) -> dict[str, Array]:
    return {"X": ROWS, "WHAT": strings(what)[None]}


def life(models: Opener, tmp_path: Path, **parameters: str) -> EngineOptions:
    options = models.prepare("life", file=str(tmp_path / "log"), **parameters)
    (options.folder / "helper_beside.py").write_text(HELPER)
    return options


def test_a_model_is_finalized_once(models: Opener, tmp_path: Path) -> None:
    engine = models.open(life(models, tmp_path))
    x = np.zeros(2, np.float32)
    assert np.array_equal(outputs(engine, call({"X": x}))["Y"], x)
    engine.close()
    engine.close()
    assert (tmp_path / "log").read_text() == "finalized"
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.execute([call({"X": x})])


def test_a_model_that_does_not_finalize_is_ended(
    models: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FINALIZE_SECONDS", 0.2)
    engine = models.open(life(models, tmp_path, stay="long"))
    engine.close()
    assert not (tmp_path / "log").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.process_id, 0)


def test_what_a_model_logs_and_prints_is_in_the_log(
    models: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "engines.python_backend")
    models.open(life(models, tmp_path)).close()
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert lines == [
        ("INFO", "log_info\n\\udc80"),
        ("WARNING", "log_warn\n\\udc80"),
        ("ERROR", "log_error\n\\udc80"),
        ("DEBUG", "log_verbose\n\\udc80"),
        ("INFO", "plain"),
        ("ERROR", "said as an error"),
    ]
    assert {record.__dict__["model"] for record in caplog.records} == {"life"}
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "printed by the model\n")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"fail": "no weights"}, "model 'life': RuntimeError: no weights"),
        ({"exit": "yes"}, "model 'life': SystemExit: 3"),
    ],
)
def test_a_model_that_does_not_initialize_is_not_opened(
    models: Opener, tmp_path: Path, parameters: dict[str, str], words: str
) -> None:
    with pytest.raises(ModelLoadError, match=words):
        models.open(life(models, tmp_path, **parameters))
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_such", "ModuleNotFoundError: No module named 'nothing_such'"),
        ("x = 1", "model.py has no class TritonPythonModel; define it there"),
        ("import os\nos._exit(9)", "the model's process ended with code 9"),
    ],
)
def test_code_that_cannot_be_loaded_is_not_opened(models: Opener, code: str, words: str) -> None:
    options = models.prepare("completing")
    (options.folder / "model.py").write_text(code)
    with pytest.raises((ModelLoadError, EngineLostError), match=words):
        models.open(EngineOptions(complete_config(options.config, options.folder), options.folder))


def test_a_model_without_code_is_not_opened(models: Opener) -> None:
    options = models.prepare("completing")
    (options.folder / "model.py").unlink()
    for act in (models.open, lambda given: complete_config(given.config, given.folder)):
        with pytest.raises(ModelLoadError, match=r"model\.py"):
            act(options)


def test_a_model_may_lack_all_but_execute_and_that(models: Opener) -> None:
    options = models.prepare("completing")
    (options.folder / "model.py").write_text("class TritonPythonModel:\n    pass\n")
    engine = models.open(options)
    (response,) = run(engine, call({}))
    assert str(response.error).endswith("TritonPythonModel has no method execute; define it")


@pytest.mark.parametrize(("what", "fate"), [("exit", "ended with code 3"), ("orphan", "ended with code 4")])
def test_a_process_that_ends_is_lost(models: Opener, what: str, fate: str) -> None:
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    engine = models.start("arithmetic")
    answers = Answers()
    with pytest.raises(EngineLostError, match=f"the model's process {fate}") as caught:
        engine.execute([call({"X": ROWS}, answers), call(told(what), answers)])
    assert not caught.value.idle
    with pytest.raises(EngineLostError):
        engine.execute([call({"X": ROWS})])
    assert answers.queue.empty()
    assert engine.open_calls == 0
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_process_that_takes_nothing_in_is_ended(models: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SEND_SECONDS", 1)
    engine = models.start("arithmetic")
    os.kill(engine.process_id, signal.SIGSTOP)
    with pytest.raises(EngineLostError, match="in the middle of a message and was ended"):
        engine.execute([call({"X": np.zeros((8, 2**20), np.float32)})])


@pytest.mark.parametrize("connection", [1, 2])
def test_a_process_that_cannot_be_understood_is_ended(models: Opener, connection: int) -> None:
    options = models.prepare("arithmetic")
    code = """
import os, sys, time
class TritonPythonModel:
    def execute(self, requests):
        os.write(int(sys.argv[%d]), (3).to_bytes(8, "little") + b"abc")
        while True:
            time.sleep(0.05)
"""
    (options.folder / "model.py").write_text(code % connection)
    engine = models.open(options)
    with pytest.raises(EngineLostError, match="could not be understood"):
        engine.execute([call({"X": ROWS})])


def test_what_cannot_be_sent_is_the_requests_fault(models: Opener) -> None:
    engine = models.start("arithmetic")
    bad = call({"X": ROWS})
    bad.id = "\udc80"
    with pytest.raises(InvalidInputError, match="the request cannot be sent to the model"):
        engine.execute([bad])
    assert run(engine, call({"X": ROWS}))[0].error is None
    assert engine.open_calls == 0


def test_a_process_that_hangs_is_ended(models: Opener) -> None:
    engine = models.start("arithmetic", batchyard__watchdog_ms="300")
    assert run(engine, call({"X": ROWS}))[0].error is None
    with pytest.raises(EngineLostError, match=r"gave no sign of life for 0\.3 s and was ended; .*watchdog_ms"):
        engine.execute([call(told("hang"))])
    with pytest.raises(ProcessLookupError):
        os.kill(engine.process_id, 0)


def test_a_process_that_is_killed_is_lost_to_the_next_call_and_the_open_ones(models: Opener) -> None:
    engine = models.start("stream")
    answers = Answers()
    engine.execute([call({"N": np.array([1], np.int32), "HOW": strings("hold")}, answers)])
    answers.next()
    os.kill(engine.process_id, signal.SIGKILL)
    error = answers.next().error
    assert isinstance(error, EngineLostError)
    assert "ended by signal 9" in str(error)
    with pytest.raises(EngineLostError) as caught:
        engine.execute([call({"N": np.array([1], np.int32), "HOW": strings("")})])
    assert caught.value.idle
    assert answers.queue.empty()


def test_the_process_ends_with_its_parent(models: Opener) -> None:
    options = models.prepare("arithmetic")
    code = (
        "import os, sys; from pathlib import Path; from engines import open_call_engine\n"
        "from engines.base import EngineOptions; from engines.repository import read_config\n"
        "folder = Path(sys.argv[1]); engine = open_call_engine(EngineOptions(read_config(folder), folder / '1'))\n"
        "print(engine.process_id, flush=True); os._exit(0)\n"
    )
    command = [sys.executable, "-c", code, str(options.folder.parent)]
    child = int(subprocess.run(command, stdout=subprocess.PIPE, timeout=30, check=True).stdout)
    for _ in range(500):
        if not Path(f"/proc/{child}").exists():
            break
        os.sched_yield()
        signal.sigtimedwait((), 0.01)
    assert not Path(f"/proc/{child}").exists()


def test_warming_up_runs_the_samples(models: Opener) -> None:
    options = models.prepare("arithmetic")
    sample = 'inputs { key: "%s" value { data_type: TYPE_%s dims: [ %s ] %s: true } }'
    text = "\n".join(
        [
            (options.folder.parent / "config.pbtxt").read_text(),
            'model_warmup { name: "twice" batch_size: 3 count: 2',
            sample % ("X", "FP32", "4", "random_data"),
            sample % ("WHAT", "STRING", "1", "zero_data"),
            "}",
        ]
    )
    (options.folder.parent / "config.pbtxt").write_text(text)
    from engines.repository import read_config

    engine = models.open(EngineOptions(read_config(options.folder.parent), options.folder))
    engine.warm_up()
    assert run(engine, call(told("parameters")))[0].parameters == {"executions": 3}


def test_warming_up_raises_what_goes_wrong(models: Opener, tmp_path: Path) -> None:
    options = models.prepare("arithmetic")
    code = "class TritonPythonModel:\n    def execute(self, requests):\n        raise ValueError('cold')\n"
    (options.folder / "model.py").write_text(code)
    (options.folder.parent / "config.pbtxt").write_text(
        (options.folder.parent / "config.pbtxt").read_text()
        + 'model_warmup { name: "w" batch_size: 1 '
        + 'inputs { key: "X" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } }\n'
    )
    from engines.repository import read_config

    engine = models.open(EngineOptions(read_config(options.folder.parent), options.folder))
    with pytest.raises(ExecutionError, match="ValueError: cold"):
        engine.warm_up()


def test_the_process_starts_with_little(tmp_path: Path) -> None:
    """What a model is loaded beside: no web framework, no engine, no protobuf."""
    code = "import sys, engines.python_backend.inside.worker; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    loaded = set(found.stdout.split())
    assert {"engines", "numpy", "msgspec"} <= loaded
    assert not loaded & {"google", "grpc", "tritonclient", "fastapi", "service", "onnxruntime", "tokenizers"}


def test_ten_thousand_calls_leave_nothing_behind(models: Opener) -> None:
    engine = models.start("arithmetic")
    rows = [call({"X": np.ones((1, 64), np.float32)}) for _ in range(50)]

    def resident() -> int:
        fields = Path(f"/proc/{engine.process_id}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(20):
        run(engine, *rows)
    before = resident()
    for _ in range(200):
        run(engine, *rows)
    assert resident() - before < 4 * 2**20
    assert engine.open_calls == 0
