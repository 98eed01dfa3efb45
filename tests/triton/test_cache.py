"""The cache beside a real Triton's: the same requests, the same counts, on an ensemble as well."""

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.repository import write
from tests.conftest import serving
from tests.triton.install import NotAvailableError, install
from tests.triton.server import TritonServer

ENSEMBLE = """
name: "ensemble" platform: "ensemble" max_batch_size: 8 response_cache { enable: true }
input { name: "INPUT0" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 1 ] }
ensemble_scheduling { step { model_name: "execute_error" model_version: -1
  input_map { key: "INPUT0" value: "INPUT0" } output_map { key: "OUTPUT0" value: "OUTPUT0" } } }
"""
MODELS = ("ensemble", "execute_error")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The model `execute_error`, which returns its input, and an ensemble of it, both cached."""
    try:
        install()
    except NotAvailableError as error:
        pytest.skip(str(error))
    root = tmp_path / "repository"
    root.mkdir()
    write(root, "python", ["execute_error"])
    with (root / "execute_error" / "config.pbtxt").open("a") as config:
        config.write("\nresponse_cache { enable: true }\n")
    (root / "ensemble" / "1").mkdir(parents=True)
    (root / "ensemble" / "config.pbtxt").write_text(ENSEMBLE)
    return root


def counts(url: str) -> Mapping[str, Mapping[str, int]]:
    """What each model counts after a few requests, one after the other."""
    for model, value in [("ensemble", 3), ("ensemble", 3), ("execute_error", 3), ("execute_error", 4), ("ensemble", 4)]:
        given = {"name": "INPUT0", "shape": [1, 1], "datatype": "INT32", "data": [value]}
        answer = _json(f"{url}/v2/models/{model}/infer", {"inputs": [given]})
        assert answer["outputs"][0]["data"] == [value]
    return {model: _counts(_json(f"{url}/v2/models/{model}/stats")["model_stats"][0]) for model in MODELS}


def _counts(found: dict[str, Any]) -> Mapping[str, int]:
    told = {name: duration["count"] for name, duration in found["inference_stats"].items()}
    return told | {name: found[name] for name in ("inference_count", "execution_count")}


def _json(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(url, data, timeout=20) as answer:
        return json.load(answer)


def test_both_count_alike(repository: Path, tmp_path: Path) -> None:
    with TritonServer(repository, "--cache-config", "local,size=1048576") as server:
        theirs = counts(f"http://{server.http}")
    config = tmp_path / "gateway.toml"
    config.write_text("")
    with serving("--config", str(config), "--model-repository", str(repository)) as url:
        ours = counts(url)
    assert ours == theirs
    assert theirs["ensemble"]["cache_hit"] == 1
