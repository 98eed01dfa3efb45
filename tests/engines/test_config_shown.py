"""A configuration as callers are shown it. The files hold what Triton 2.51 itself shows of the same config.pbtxt."""

import json
from pathlib import Path

import pytest

from engines.config.shown import to_json, to_proto
from engines.repository import read_config
from tests.engines.config_text import BASE, ensemble, model_folder, read, step

SHOWN = Path(__file__).parent / "shown"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path)


@pytest.mark.parametrize("name", ["batched", "chain", "repeat", "sequence"])
def test_the_same_as_triton_shows(name: str) -> None:
    """But for a field that is newer than Triton 2.51."""
    wanted = json.loads((SHOWN / f"{name}.json").read_text())
    found = to_json(read_config(SHOWN / name))
    if "ensemble_scheduling" in found:
        assert found["ensemble_scheduling"].pop("max_inflight_requests", 0) == 0
    assert json.dumps(found) == json.dumps(wanted)


@pytest.mark.parametrize(
    ("device", "backend", "kind"),
    [
        ("", "identity", "KIND_CPU"),
        ("GPU", "openvino", "KIND_GPU"),
        ("", "tensorrt", "KIND_GPU"),
        ("", "triton", "KIND_AUTO"),
    ],
)
def test_where_a_model_runs_is_told(folder: Path, device: str, backend: str, kind: str) -> None:
    text = BASE.replace("identity", backend)
    if device:
        text += f'parameters {{ key: "batchyard.device" value {{ string_value: "{device}" }} }}'
    assert to_json(read(text, folder))["instance_group"][0]["kind"] == kind


def test_what_was_read_stays_as_it_is(folder: Path) -> None:
    config = read(BASE, folder)
    assert to_proto(config).instance_group[0].count == 1
    assert not config.proto.instance_group


def test_tritons_json(folder: Path) -> None:
    text = BASE + "dynamic_batching { max_queue_delay_microseconds: 5 priority_queue_policy { key: 1 value { } }"
    text += ' priority_levels: 2 default_priority_level: 1 } parameters { key: "k" value { string_value: "v" } }'
    found = to_json(read(text, folder))
    json.dumps(found)
    assert (found["name"], found["backend"], found["max_batch_size"]) == ("m", "identity", 8)
    assert found["version_policy"] == {"latest": {"num_versions": 1}}
    assert found["input"][0]["dims"] == [4]
    assert found["input"][0]["allow_ragged_batch"] is False
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 5
    assert found["dynamic_batching"]["priority_queue_policy"]["1"]["default_timeout_microseconds"] == 0
    assert (found["instance_group"][0]["name"], found["instance_group"][0]["count"]) == ("m_0", 1)
    assert found["parameters"] == {"k": {"string_value": "v"}}
    assert found["default_model_filename"] == ""


def test_tritons_json_of_an_ensemble_has_no_engine(folder: Path) -> None:
    found = to_json(read(ensemble(step("a", "x", "y")), folder))
    assert (found["platform"], found["backend"]) == ("ensemble", "")
    assert "instance_group" not in found or found["instance_group"] == []
    assert found["ensemble_scheduling"]["step"][0]["input_map"] == {"i": "x"}
