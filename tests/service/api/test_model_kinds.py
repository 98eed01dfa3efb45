"""Triton's kinds of models over HTTP: versions, optional inputs, shapes of their own, ensembles, tensors of size 0."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper, numpy_helper

from service.app import create_app
from service.settings import load_settings
from tests.engines.small_onnx import save
from tests.service.api.serving import Address, serve

VECTOR = """
backend: "identity" max_batch_size: 8 dynamic_batching { }
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""
OPTIONAL = """
backend: "onnxruntime" max_batch_size: 8 dynamic_batching { }
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
input { name: "b" data_type: TYPE_FP32 dims: [ 1 ] optional: true }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""
SQUARE = """
backend: "onnxruntime" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }
"""
TABLE = """
platform: "ensemble" max_batch_size: 4
input { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] } output { name: "TURNED" data_type: TYPE_FP32 dims: [ 4 ] }
ensemble_scheduling { step [
  { model_name: "versions" model_version: 1 input_map { key: "x" value: "IN" } output_map { key: "y" value: "OUT" } },
  { model_name: "square" model_version: -1 input_map { key: "x" value: "IN" } output_map { key: "y" value: "TURNED" } }
] }
"""
RAGGED = """
backend: "onnxruntime" max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 20000 }
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }
"""
CONFIGS = {
    "versions": VECTOR + "version_policy { all { } }",
    "latest": VECTOR + "version_policy { latest { num_versions: 2 } }",
    "specific": VECTOR + "version_policy { specific { versions: [ 1, 2 ] } }",
    "padded": VECTOR + 'parameters { key: "batchyard.padding.x" value { string_value: "0" } }',
    "cached": VECTOR + "response_cache { enable: true }",
    "optional": OPTIONAL,
    "square": SQUARE,
    "ragged": RAGGED,
    "apart": RAGGED + 'parameters { key: "batchyard.isolation" value { string_value: "process" } }',
    "table": TABLE,
    "misfit": TABLE.replace("dims: [ 4 ] }\noutput", "dims: [ 5 ] }\noutput"),
    "required": OPTIONAL.replace("dims: [ -1 ] }\ninput", "dims: [ -1 ] optional: true }\ninput"),
}


def adder(path: Path) -> None:
    """y = x + b, where b is 10 unless it is given."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in "xy")
    default = numpy_helper.from_array(np.array([[10]], np.float32), "b")
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 1])
    save(path, helper.make_graph([helper.make_node("Add", ["x", "b"], ["y"])], "adder", [x, value], [y], [default]))


def turner(path: Path) -> None:
    """x [n, 2, 2] -> y, each square turned around its diagonal."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 2]) for name in "xy")
    save(path, helper.make_graph([helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], "turner", [x], [y]))


def negater(path: Path) -> None:
    """x [all] -> y = -x, of all requests of a batch in one piece."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["all"]) for name in "xy")
    save(path, helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negater", [x], [y]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, config in CONFIGS.items():
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(config)
    for name in ("versions", "latest", "specific"):
        for version in ("2", "10"):
            shutil.copytree(root / name / "1", root / name / version)
    for name in ("optional", "required"):
        adder(root / name / "1" / "model.onnx")
    for name in ("ragged", "apart"):
        negater(root / name / "1" / "model.onnx")
    turner(root / "square" / "1" / "model.onnx")
    return root


@pytest.fixture(scope="module")
def app(root: Path) -> Iterator[Address]:
    with serve(create_app(load_settings({"model_repository": [root], "pipelines": {}, "routes": {}}))) as address:
        yield address


@pytest.fixture
def http(app: Address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30) as client:
        yield client


@pytest.fixture
def client(app: Address) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(app.url.removeprefix("http://")) as client:
        yield client


def given(name: str, array: np.ndarray) -> triton.InferInput:
    made = triton.InferInput(name, array.shape, "FP32")
    return made.set_data_from_numpy(array.astype(np.float32))


@pytest.mark.parametrize(
    ("model", "served", "newest"),
    [("versions", ["1", "2", "10"], "10"), ("latest", ["2", "10"], "10"), ("specific", ["1", "2"], "2")],
)
def test_each_version_is_asked_by_its_number_and_the_newest_by_none(
    client: triton.InferenceServerClient, model: str, served: list[str], newest: str
) -> None:
    x = np.array([[1, 2]])
    assert client.get_model_metadata(model)["versions"] == served
    for version in ["", *served]:
        result = client.infer(model, [given("x", x)], model_version=version)
        assert result.get_response()["model_version"] == (version or newest)
        assert client.is_model_ready(model, version)
    for version in {"1", "2", "10", "3"} - set(served):
        with pytest.raises(triton.InferenceServerException, match=f"has no version '{version}'; served are"):
            client.infer(model, [given("x", x)], model_version=version)


def test_an_optional_input_has_the_default_of_the_file(client: triton.InferenceServerClient) -> None:
    x, b = np.array([[1, 2]]), np.array([[5]])
    assert client.infer("optional", [given("x", x)]).as_numpy("y").tolist() == [[11, 12]]
    assert client.infer("optional", [given("x", x), given("b", b)]).as_numpy("y").tolist() == [[6, 7]]
    with pytest.raises(triton.InferenceServerException, match="input 'x' is missing"):
        client.infer("optional", [given("b", b)])


def test_an_input_without_a_default_cannot_be_optional(http: httpx.Client) -> None:
    (entry,) = [one for one in http.post("/v2/repository/index").json() if one["name"] == "required"]
    assert "input 'x' is optional in config.pbtxt, but the file has no default for it" in entry["reason"]


def test_callers_see_dims_and_the_model_its_own_shape(client: triton.InferenceServerClient) -> None:
    result = client.infer("square", [given("x", np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))])
    assert result.as_numpy("y").tolist() == [[1, 3, 2, 4], [5, 7, 6, 8]]
    assert client.get_model_metadata("square")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.get_model_config("square")["input"][0]["reshape"] == {"shape": [2, 2]}


@pytest.mark.parametrize("model", ["ragged", "apart"])
def test_requests_of_different_lengths_share_a_piece(app: Address, model: str) -> None:
    """Each gets its own part of it, in the shape of its input."""
    lengths = (3, 0, 5, 1)
    with triton.InferenceServerClient(app.url.removeprefix("http://"), concurrency=4) as client:
        asked = [client.async_infer(model, [given("x", np.full((1, n), n))]) for n in lengths]
        answers = [one.get_result().as_numpy("y").tolist() for one in asked]
    assert answers == [[[-float(n)] * n] for n in lengths]


def test_an_ensemble_runs_what_is_asked_for(client: triton.InferenceServerClient, http: httpx.Client) -> None:
    asked = [given("IN", np.array([[1, 2, 3, 4]]))]
    result = client.infer("table", asked)
    assert (result.as_numpy("OUT").tolist(), result.as_numpy("TURNED").tolist()) == ([[1, 2, 3, 4]], [[1, 3, 2, 4]])
    body = {"inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    for name, engine in (("OUT", "identity"), ("TURNED", "onnxruntime")):
        answer = http.post("/v2/models/table/infer", json=body | {"outputs": [{"name": name}]})
        assert (answer.headers["x-engine"], [o["name"] for o in answer.json()["outputs"]]) == (engine, [name])
    assert client.get_model_config("table")["model_transaction_policy"] == {"decoupled": False}


def test_an_ensemble_that_does_not_fit_its_models_is_not_ready(http: httpx.Client) -> None:
    (entry,) = [one for one in http.post("/v2/repository/index").json() if one["name"] == "misfit"]
    assert entry["state"] == "UNAVAILABLE"
    assert "tensor 'IN' is FP32 [-1, 5] by the ensemble, but FP32 [-1, 4] by 'square'" in entry["reason"]


@pytest.mark.parametrize("model", ["versions", "padded", "optional"])
@pytest.mark.parametrize("binary", [True, False])
def test_tensors_of_size_0(client: triton.InferenceServerClient, model: str, binary: bool) -> None:
    asked = triton.InferInput("x", [2, 0], "FP32")
    asked.set_data_from_numpy(np.zeros((2, 0), np.float32), binary_data=binary)
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    assert client.infer(model, [asked], outputs=[wanted]).as_numpy("y").shape == (2, 0)
