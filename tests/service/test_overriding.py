"""Models opened from what a caller sent: a configuration, or all of their files."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidRequestError, LoadFailedError, ModelUnavailableError, NotFoundError
from service.overrides import Overrides
from service.overriding import find
from service.routing.policies import ordered
from service.routing.route import Route
from service.types import InferRequest
from tests.service.test_runtime import ENSEMBLE, IDENTITY, Write, request, started

TENSOR = {"data_type": "TYPE_FP32", "dims": [2]}
CONFIG = json.dumps(
    {
        "backend": "identity",
        "max_batch_size": 8,
        "input": [{"name": "INPUT0", **TENSOR}],
        "output": [{"name": "OUTPUT0", **TENSOR}],
    }
)
FILES = Overrides(CONFIG, {"1/model.bin": b"\x00\xff", "3/deep/er/labels.txt": b"cat"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made; all of them are gone at the end of each test."""
    home = tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    yield home
    assert list(home.iterdir()) == []


def folders(home: Path) -> int:
    return len(list(home.iterdir()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    return root


@pytest.fixture
def write(root: Path) -> Write:
    def _write(name: str, config: str, *versions: str) -> None:
        for version in versions or ("1",):
            (root / name / version).mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(config)

    return _write


def test_the_files_and_nothing_else(root: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2), "7")
    source = find([root], "first", FILES)
    entry = source.entry
    assert (entry.name, entry.versions, entry.error) == ("first", (3,), "")
    assert {path.relative_to(entry.folder).as_posix() for path in entry.folder.rglob("*") if path.is_file()} == {
        "1/model.bin",
        "3/deep/er/labels.txt",
    }
    assert (entry.folder / "1/model.bin").read_bytes() == b"\x00\xff"
    source.release()
    assert not entry.folder.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/etc/x",
        "../x",
        "1/../../x",
        "1/..",
        "",
        ".",
        "1/",
        "config.pbtxt",
        "./config.pbtxt",
        "1/a\nb",
        "1/a\0",
        "a/" * 20 + "b",
    ],
)
def test_paths_that_lead_elsewhere(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        find([root], "first", Overrides(CONFIG, {"1/model.bin": b"", path: b"x"}))
    assert caught.value.param == f"file:{path}"


@pytest.mark.parametrize("name", ["../first", "a/b", ".hidden", "", "a" * 256, "a\nb", ".."])
def test_names_that_are_no_folder(root: Path, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="no model's name"):
        find([root], name, FILES)


def test_files_in_the_way_of_each_other(root: Path) -> None:
    for files in ({"1/a": b"", "1/a/b": b""}, {"1/a": b"", "1//a": b""}):
        with pytest.raises(LoadFailedError, match="cannot be written"):
            find([root], "first", Overrides(CONFIG, files))


def test_files_need_a_config(root: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    with pytest.raises(InvalidRequestError, match="without a config") as caught:
        find([root], "first", Overrides(None, {"1/model.bin": b""}))
    assert caught.value.triton == "failed to load 'first', failed to poll from model repository"


def test_a_config_alone_takes_the_folders_files(root: Path, write: Write) -> None:
    write("first", "this is no config", "1", "2")
    entry = find([root], "first", Overrides(CONFIG)).entry
    assert (entry.folder, entry.versions, entry.error) == (root / "first", (2,), "")
    with pytest.raises(NotFoundError, match="has no 'second'"):
        find([root], "second", Overrides(CONFIG))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "send the model configuration as JSON"),
        ("[1]", "send the model configuration as JSON"),
        ("[" * 100_000, "send the model configuration as JSON"),
        ('{"backend": "identity", "nowhere": 1}', "nowhere"),
        ('{"name": "\\ud800"}', "the config that was sent"),
        (CONFIG.replace("identity", "identity\\n"), "identity"),
        (json.dumps({**json.loads(CONFIG), "name": "other"}), "'other' is not the name of the folder"),
        (json.dumps({**json.loads(CONFIG), "max_batch_size": -1}), "max_batch_size"),
    ],
)
async def test_a_bad_config_keeps_what_is_loaded(root: Path, write: Write, config: str, words: str) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(root) as (runtime, gateway):
        for overrides in (Overrides(config), Overrides(config, {"1/model.bin": b""})):
            with pytest.raises(LoadFailedError) as caught:
                await runtime.load("first", overrides)
            assert words in str(caught.value)
            assert "\n" not in str(caught.value)
        assert (await gateway.infer(request("first"))).version == "1"


async def test_what_triton_completes_from_the_model_file_is_taken_from_the_folder(root: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(root) as (runtime, gateway):
        await runtime.load("first", Overrides('{"max_batch_size": "16"}'))
        config = gateway.model("first").config
        assert config is not None
        assert (config.max_batch_size, config.backend, config.dynamic_batching) == (16, "identity", None)
        assert (await gateway.infer(request("first"))).version == "1"
        with pytest.raises(LoadFailedError, match="backend: is missing"):
            await runtime.load("first", Overrides("{}", {"1/model.bin": b""}))


async def test_overrides_count_until_the_next_load(root: Path, home: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=3))
    async with started(root) as (runtime, gateway):
        await runtime.load("first", FILES)
        assert (await gateway.infer(request("first"))).version == "3"
        assert folders(home) == 1
        await runtime.load("first", Overrides(CONFIG))
        assert (await gateway.infer(request("first"))).version == "1"
        await runtime.load("first")
        assert folders(home) == 0
        three = InferRequest("first", {"INPUT0": np.zeros((1, 3), np.float32)})
        assert (await gateway.infer(three)).version == "1"


async def test_a_model_that_the_repository_does_not_have(root: Path, home: Path) -> None:
    async with started(root) as (runtime, gateway):
        await runtime.load("made", FILES)
        assert (await gateway.infer(request("made"))).model == "made"
        await runtime.unload("made")
        assert gateway.model("made").state == "UNLOADING"
        with pytest.raises(ModelUnavailableError, match="was unloaded"):
            await gateway.infer(request("made"))
        with pytest.raises(NotFoundError, match="has no 'made'"):
            await runtime.load("made")
        assert folders(home) == 0
        assert gateway.model("made").state == "UNAVAILABLE"
        await runtime.load("made", FILES)
        assert gateway.model("made").ready


async def test_a_caller_that_leaves_leaves_nothing_half_done(root: Path, home: Path) -> None:
    async with started(root) as (runtime, gateway):
        leaver = asyncio.create_task(runtime.load("made", FILES))
        for _ in range(3):  # it has begun, and reads the disk
            await asyncio.sleep(0)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        await runtime.load("made", FILES)
        assert (await gateway.infer(request("made"))).version == "3"
        await runtime.unload("made")


async def test_names_of_routes_are_not_taken(root: Path, write: Write) -> None:
    write("first", IDENTITY.format(dims=2))
    async with started(root, Route("both", ("first",), ordered)) as (runtime, _):
        with pytest.raises(NotFoundError, match="'both' is a route"):
            await runtime.load("both", FILES)


async def test_the_models_of_an_ensemble_go_with_it_and_come_back(root: Path, write: Write) -> None:
    for name in ("first", "second"):
        write(name, IDENTITY.format(dims=2))
    write("chain", ENSEMBLE.replace('"both"', '"first"'))
    async with started(root) as (runtime, gateway):
        await runtime.load("second")
        await runtime.unload("chain", dependents=True)
        assert [gateway.model(name).ready for name in ("chain", "first", "second")] == [False, False, True]
        await runtime.load("chain")
        assert (await gateway.infer(request("chain", "IN"))).outputs["OUT"].tolist() == [[1, 2]]
        assert gateway.model("first").ready


async def test_a_model_that_another_ensemble_needs_stays(root: Path, write: Write) -> None:
    for name in ("first", "second"):
        write(name, IDENTITY.format(dims=2))
    for name in ("chain", "chain2"):
        write(name, ENSEMBLE.replace('"both"', '"first"'))
    async with started(root) as (runtime, gateway):
        await runtime.unload("chain", dependents=True)
        assert gateway.model("first").ready
        await runtime.unload("chain2", dependents=True)
        assert not gateway.model("first").ready


async def test_an_ensemble_whose_steps_are_not_there_says_so(root: Path, write: Write) -> None:
    write("second", IDENTITY.format(dims=2))
    async with started(root) as (runtime, gateway):
        write("chain", ENSEMBLE.replace('"both"', '"first"'))
        await runtime.load("chain")
        assert "unknown model 'first'" in gateway.model("chain").reason
