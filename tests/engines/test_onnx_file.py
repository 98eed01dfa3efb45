"""External weights are found wherever they hang in an ONNX file, and may not lead out of its folder."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import ModelLoadError
from engines.onnx_file import check_external_data, external_locations


def external(location: str, name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("offset", "0"), ("location", location), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def write(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto], **more: object) -> Path:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "g", [], [value], weights)
    path.write_bytes(helper.make_model(graph, **more).SerializeToString())
    return path


def in_initializer(path: Path, location: str) -> Path:
    inner = numpy_helper.from_array(np.arange(1000, dtype=np.float32), "v")
    return write(path, [helper.make_node("Identity", ["w"], ["y"])], [inner, external(location)])


def in_constant(path: Path, location: str) -> Path:
    return write(path, [helper.make_node("Constant", [], ["y"], value=external(location))], [])


def in_branch(path: Path, location: str) -> Path:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2])
    branch = helper.make_graph([], "branch", [], [value], [external(location, "z")])
    return write(path, [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [])


def in_function(path: Path, location: str) -> Path:
    constant = helper.make_node("Constant", [], ["y"], value=external(location))
    opset = helper.make_opsetid("", 20)
    function = helper.make_function("own", "f", [], ["y"], [constant], [opset])
    return write(path, [helper.make_node("f", [], ["y"], domain="own")], [], functions=[function])


PLACES = [in_initializer, in_constant, in_branch, in_function]


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_the_folder_are_taken(place, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "w.bin").write_bytes(bytes(8))
    model = place(tmp_path / "model.onnx", "w.bin")
    assert external_locations(model) == {"w.bin"}
    check_external_data(model)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["/etc/hostname", "../w.bin", "a/../../w.bin", "link.bin", ""])
def test_weights_outside_the_folder_are_refused(place, location: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "1"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelLoadError, match="external_data") as refused:
        check_external_data(place(folder / "model.onnx", location))
    assert repr(location) in str(refused.value)


def test_a_missing_file_of_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"model\.onnx: external_data: 'w\.bin' is not in"):
        check_external_data(in_initializer(tmp_path / "model.onnx", "w.bin"))


def test_a_model_without_external_weights(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    model = write(tmp_path / "model.onnx", [helper.make_node("Identity", ["w"], ["y"])], [weight])
    assert external_locations(model) == set()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a model", b"\xff" * 40, bytes(10)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match="is not an ONNX file"):
        check_external_data(path)


def test_a_model_cut_short_is_refused(tmp_path: Path) -> None:
    model = in_initializer(tmp_path / "model.onnx", "w.bin")
    model.write_bytes(model.read_bytes()[:-20])
    with pytest.raises(ModelLoadError, match="cut short"):
        check_external_data(model)


def test_a_tag_that_other_parsers_would_cut_is_refused(tmp_path: Path) -> None:
    """Field 7 with bits beyond 32 set: some parsers drop them and read a graph."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xba\x80\x80\x80\x10\x00")
    with pytest.raises(ModelLoadError, match="is not an ONNX file"):
        check_external_data(path)
