"""Which of NVIDIA's SDKs is taken, and what they say."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.errors import MissingBackendError, ModelLoadError
from engines.tensorrt_api import SDKS, Complaints, load_tensorrt, logger, strongly_typed
from engines.tensorrt_notes import PlanNotes, notes_file, read_notes, write_notes

BOTH = ("sdk_of_data_centres", "sdk_of_rtx")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages that can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in BOTH:
        sys.modules.pop(name, None)


def package(home: Path, name: str, code: str = "") -> None:
    (home / f"{name}.py").write_text(f"__version__ = '1.2'\n{code}\n")


def test_none_is_installed() -> None:
    with pytest.raises(MissingBackendError) as refused:
        load_tensorrt(sdks=BOTH)
    assert str(refused.value) == (
        "backend 'tensorrt' needs the sdk_of_data_centres or sdk_of_rtx package: "
        "pip install 'batchyard[tensorrt]' (data centre GPUs) or 'batchyard[tensorrt-rtx]' (RTX GPUs)"
    )


def test_the_one_that_is_installed_is_taken(home: Path) -> None:
    package(home, BOTH[1])
    found = load_tensorrt(sdks=BOTH)
    assert (found.package, found.version) == (BOTH[1], "1.2")


def test_of_both_the_first_is_taken_unless_a_plan_wants_the_other(home: Path) -> None:
    package(home, BOTH[0])
    package(home, BOTH[1])
    assert load_tensorrt(sdks=BOTH).package == BOTH[0]
    assert load_tensorrt(BOTH[1], sdks=BOTH).package == BOTH[1]


def test_the_plans_sdk_is_not_replaced_by_another(home: Path) -> None:
    package(home, BOTH[1])
    with pytest.raises(MissingBackendError, match="needs the sdk_of_data_centres package"):
        load_tensorrt(BOTH[0], sdks=BOTH)


@pytest.mark.parametrize(
    "code", ["import a_library_nobody_has", "raise ImportError('libnvinfer.so.11:\\n not found')", "raise OSError('x')"]
)
def test_a_broken_one_is_not_called_missing(code: str, home: Path) -> None:
    package(home, BOTH[0], code)
    package(home, BOTH[1])
    with pytest.raises(ModelLoadError, match="sdk_of_data_centres cannot be imported: ") as refused:
        load_tensorrt(sdks=BOTH)
    assert not isinstance(refused.value, MissingBackendError)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("code", ["", "class IRuntimeConfig: ..."])
def test_what_differs_between_them(code: str, home: Path) -> None:
    package(home, BOTH[0], code)
    package(home, BOTH[1], "class IRuntimeConfig:\n    cuda_graph_strategy = 0")
    data_centre, rtx = load_tensorrt(BOTH[0]), load_tensorrt(BOTH[1])
    assert (data_centre.tunes, data_centre.captures) == (True, False)
    assert (rtx.tunes, rtx.captures) == (False, True)


def test_tensorrt_for_rtx_is_known_for_what_it_is() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    sdk = load_tensorrt(SDKS[1])
    assert (sdk.tunes, sdk.captures) == (False, True)
    assert strongly_typed(sdk) == 1 << int(sdk.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def test_complaints_are_one_line_once() -> None:
    complaints = Complaints()
    assert complaints.take() == "it says no more"
    for text in ("no\n memory", "b", "no memory"):
        complaints.add(text)
    assert complaints.take() == "no memory; b"
    assert complaints.take() == "it says no more"


def test_only_errors_are_complaints() -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    sdk = load_tensorrt(SDKS[1])
    complaints = Complaints()
    log = logger(sdk, complaints)
    severity = sdk.module.ILogger.Severity
    for kind in (severity.VERBOSE, severity.INFO, severity.WARNING, severity.ERROR, severity.INTERNAL_ERROR):
        log.log(kind, kind.name)
    assert complaints.take() == "ERROR; INTERNAL_ERROR"


def test_notes_of_a_plan(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    assert read_notes(plan) == PlanNotes()
    notes = PlanNotes("tensorrt", "10.13", True, {"input_ids": 20})
    write_notes(plan, notes)
    assert read_notes(plan) == notes


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"sdk": 3}', '{"other": 1}', '{"table_sizes": {"x": "y"}}', '{"host_code": 1}']
)
def test_notes_that_no_build_wrote(text: str, tmp_path: Path) -> None:
    notes_file(tmp_path / "model.plan").write_text(text)
    with pytest.raises(ModelLoadError, match=r"'model.plan.json' .*; build the model again, or remove it") as refused:
        read_notes(tmp_path / "model.plan")
    assert "\n" not in str(refused.value)
