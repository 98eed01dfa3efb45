"""What the TensorRT engine refuses before it needs a GPU, and which shapes a plan takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from engines import open_engine
from engines.errors import EngineMemoryError, ExecutionError, InvalidInputError, ModelLoadError
from engines.gpu_number import gpu_number
from engines.tensorrt_notes import PlanNotes, write_notes
from engines.tensorrt_plan import Profile, choose_profile, run_error
from tests.engines.gpu import parameter, plan_options, why_not

RTX = "tensorrt_rtx_bindings"
BUILT = PlanNotes(RTX, "1.7")
CPU_GROUP = "instance_group { kind: KIND_CPU }\n"


def plan(folder: Path, notes: PlanNotes = BUILT) -> None:
    (folder / "1").mkdir()
    (folder / "1" / "model.plan").write_bytes(b"not a plan")
    write_notes(folder / "1" / "model.plan", notes)


def refusal(folder: Path, extra: str = "", device: str = "") -> str:
    with pytest.raises(ModelLoadError) as refused:
        open_engine(replace(plan_options(folder, extra), device=device))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (CPU_GROUP, "a plan runs on a GPU only; use KIND_GPU in instance_group"),
        (parameter("fallback", "CPU"), "batchyard.fallback is 'CPU', but a plan runs on a GPU only; remove it"),
        (parameter("device", "NPU"), "device 'NPU' is unknown to TensorRT; use cuda or cuda:N"),
        (parameter("tensorrt.host_code", "yes"), "batchyard.tensorrt.host_code is 'yes'; use true or false"),
    ],
)
def test_settings_that_do_not_fit_a_plan(extra: str, message: str, tmp_path: Path) -> None:
    plan(tmp_path)
    assert message in refusal(tmp_path, extra)


def test_a_version_without_a_plan(tmp_path: Path) -> None:
    assert "'model.plan' is not in '1'" in refusal(tmp_path)


def test_a_plan_that_leads_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "1" / "model.plan").symlink_to(tmp_path / "other")
    assert "a link that leads out" in refusal(tmp_path)


def test_a_plan_with_a_runtime_of_its_own_wants_consent(tmp_path: Path) -> None:
    plan(tmp_path, PlanNotes(RTX, "10.1", host_code=True))
    assert "its plan brings a runtime, code that runs in this process" in refusal(tmp_path)
    assert "its plan brings" not in refusal(tmp_path, parameter("tensorrt.host_code", "true"))


def test_the_sdk_that_built_the_plan_is_wanted(tmp_path: Path) -> None:
    plan(tmp_path, PlanNotes("an_sdk_nobody_has", "9"))
    assert "needs the an_sdk_nobody_has package: pip install 'batchyard[tensorrt]'" in refusal(tmp_path)


@pytest.mark.skipif(not why_not(), reason="a CUDA device is there")
def test_a_machine_without_a_gpu_says_what_was_found(tmp_path: Path) -> None:
    pytest.importorskip(RTX)
    plan(tmp_path)
    message = refusal(tmp_path, "instance_group { kind: KIND_GPU }\n", device="0")
    assert f"(built with {RTX} 1.7): a CUDA device is needed, found {why_not()}; install the driver" in message
    assert "give the route a model of another engine" in message


@pytest.mark.parametrize(
    ("name", "number"),
    [("cuda", 0), ("cuda:3", 3), ("2", 2), ("cuda:", None), ("cuda:x", None), ("gpu", None), ("", None), ("²", None)],
)
def test_names_of_gpus(name: str, number: int | None) -> None:
    assert gpu_number(name) == number


NARROW = Profile({"a": (1, 16), "b": (1, 16)}, {"a": (8, 16), "b": (8, 16)})
WIDE = Profile({"a": (1, 32), "b": (1, 32)}, {"a": (4, 32), "b": (4, 32)})


@pytest.mark.parametrize(("shape", "number"), [((1, 16), 0), ((8, 16), 0), ((1, 32), 1), ((4, 32), 1)])
def test_the_profile_that_takes_a_shape(shape: tuple[int, ...], number: int) -> None:
    assert choose_profile([NARROW, WIDE], {"a": shape, "b": shape}) == number


@pytest.mark.parametrize("shape", [(0, 16), (9, 16), (1, 24), (5, 32), (16,), (1, 16, 1)])
def test_a_shape_that_no_profile_takes(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InvalidInputError, match=r"no input 'a' of shape .*; it takes \[1, 16\] to \[8, 16\], \[1, 32\]"
    ):
        choose_profile([NARROW, WIDE], {"a": shape, "b": shape})


def test_all_inputs_must_fit() -> None:
    with pytest.raises(InvalidInputError):
        choose_profile([NARROW, WIDE], {"a": (1, 16), "b": (1, 32)})


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 8 bytes.)", True),
        ("[virtualMemoryBuffer.cpp] CUDA error 2: out of memory", True),
        ("cudaErrorMemoryAllocation", True),
        ("CUDA error 209: no kernel image", False),
        ("illegal memory access", False),
    ],
)
def test_full_memory_is_told_apart(text: str, full: bool) -> None:
    assert isinstance(run_error(text), ExecutionError)
    assert isinstance(run_error(text), EngineMemoryError) is full
