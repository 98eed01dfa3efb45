import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.cli import main
from service.settings import Settings, flag_of

# A small app behind the real server: these tests are about the process, not about models.
SMALL_APP = """
from contextlib import asynccontextmanager
from fastapi import FastAPI
from service.server import Service, serve
from service.settings import load_settings
from service.telemetry.startup import report_step

@asynccontextmanager
async def lifespan(app):
    report_step("opened one", 1, 2)
    report_step("opened two", 2, 2)
    yield
    print("closed", flush=True)

serve(load_settings({"port": 0, "grpc": False}), lambda settings, stopping: Service(FastAPI(lifespan=lifespan)))
"""


@contextmanager
def _running(code: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _run(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_is_the_last_line_of_the_start_and_signals_end_it_well(number: signal.Signals) -> None:
    with _running(SMALL_APP) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[:2] == ["opened one (1 of 2)\n", "opened two (2 of 2)\n"]
        assert lines[2].startswith("ready: http://127.0.0.1:")
        url = lines[2].split()[1]
        with urllib.request.urlopen(f"{url}/openapi.json", timeout=10) as response:
            assert response.status == 200
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
        assert rest == "closed\n"
        assert process.returncode == 0


def test_failing_start_says_so_and_never_ready() -> None:
    code = SMALL_APP.replace("yield", "raise RuntimeError('no disk')\n    yield")
    with _running(code) as process:
        out, logged = process.communicate(timeout=30)
        assert "ready" not in out
        assert "no disk" in logged
        assert "CannotStartError: the app did not start" in logged


def test_a_port_that_is_lost_while_models_load_is_one_error() -> None:
    code = SMALL_APP.replace('"grpc": False', '"grpc_port": 0').replace(
        "lifespan=lifespan))", "lifespan=lifespan), Lost())"
    )
    lost = """
class Lost:
    async def start(self, bound):
        raise OSError(98, "Address already in use")
"""
    with _running(lost + code) as process:
        out, logged = process.communicate(timeout=30)
        assert out == "opened one (1 of 2)\nopened two (2 of 2)\nclosed\n"
        assert "CannotStartError: cannot listen on 127.0.0.1:0: Address already in use; free it" in logged
        assert "--grpc-port" in logged


@pytest.mark.parametrize("flag", ["--port", "--grpc-port"])
def test_port_in_use_is_one_line(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run(["serve", "--port", "0", flag, port], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"batchyard: cannot listen on 127.0.0.1:{port}: Address already in use; ")
    assert f"choose others with --host and {flag} " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--prot", "1"], "batchyard: unknown argument '--prot'; did you mean '--port'?"),
        (["serve", "--port", "x"], "batchyard: --port: found 'x'; wanted a valid integer"),
        (["serve", "--config", "absent.toml"], "batchyard: --config: found no file 'absent.toml'"),
        (["srve"], "batchyard: argument COMMAND: invalid choice: 'srve'"),
        ([], "batchyard: the following arguments are required: COMMAND"),
        (["build", "--from", "absent"], "batchyard: --from wants a name for the encoder: batchyard build NAME --from"),
        (["build", "minilm", "--precision", "int3"], "batchyard: --precision: 'int3' is unknown; known are fp32"),
        (["build", "minilm", "--engines", "onnxruntime", "--precision", "bf16"], "batchyard: --precision: onnxruntime"),
        (["build", "minilm", "--max-drop", "x"], "batchyard: argument --max-drop: invalid float value: 'x'"),
        (["build", "absent"], "batchyard: unknown model 'absent'; shipped is minilm"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith(message)
    assert len(error.splitlines()) == 1


def test_help_teaches_every_setting_and_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    for name in Settings.model_fields:
        assert flag_of(name) in shown
        assert f"BATCHYARD_{name.upper()}" in shown
    assert "examples:" in shown


def test_build_and_report_say_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    for arguments in (["build", "own", "--from", "absent"], ["report", "own", "--model-repository", "."]):
        done = _run(arguments, tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("batchyard: ")
        assert len(done.stderr.splitlines()) == 1
        assert "batchyard build" in done.stderr or "is no folder" in done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("batchyard 0.")
