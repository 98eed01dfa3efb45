"""The real Triton starts beside another, is killed, comes back on its address, and leaves nothing behind."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.conformance.repository import write
from tests.triton.install import NotAvailableError, install
from tests.triton.server import StartError, TritonServer


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The model `execute_error`, which returns its input; skips where Triton cannot run."""
    try:
        install()
    except NotAvailableError as error:
        pytest.skip(str(error))
    write(tmp_path, "python", ["execute_error"])
    return tmp_path


def ask(server: TritonServer, value: int) -> list[int]:
    """The model's answer to `value`."""
    given = {"name": "INPUT0", "shape": [1, 1], "datatype": "INT32", "data": [value]}
    url = f"http://{server.http}/v2/models/execute_error/infer"
    with urllib.request.urlopen(url, json.dumps({"inputs": [given]}).encode(), timeout=10) as answer:
        return list(json.load(answer)["outputs"][0]["data"])


def test_a_killed_one_comes_back_beside_another(repository: Path) -> None:
    with TritonServer(repository) as first, TritonServer(repository) as second:
        assert (ask(first, 3), ask(second, 4)) == ([3], [4])
        first.process.kill()
        first.process.wait(10)
        first.stop()
        with TritonServer(repository, ports=first.ports) as again:
            assert again.http == first.http
            assert ask(again, 5) == [5]
        prefixes = [server.folder.name for server in (first, second, again)]
    assert [left.name for left in Path("/dev/shm").iterdir() if left.name.startswith(tuple(prefixes))] == []
    assert [folder for folder in (first.folder, second.folder, again.folder) if folder.exists()] == []


def test_what_stops_it_from_starting_is_told(repository: Path) -> None:
    (repository / "execute_error" / "1" / "model.py").write_text("import no_such_module\n")
    with pytest.raises(StartError, match="No module named 'no_such_module'"):
        TritonServer(repository)
