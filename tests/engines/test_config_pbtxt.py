"""config.pbtxt: what is read, and that every mistake is told with its field, value and remedy."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.fields import check_fields
from engines.config.pbtxt import parse
from engines.config.problems import Problems
from engines.errors import ModelLoadError
from engines.model_config import (
    Accelerator,
    BatchInput,
    BatchOutput,
    EnsembleStep,
    InstanceGroup,
    QueuePolicy,
    VersionPolicy,
    WarmupInput,
)
from engines.tensor import BYTES, FP32, INT32, INT64, TensorSpec
from tests.engines.config_text import (
    BASE,
    HEAD,
    INPUT,
    OUTPUT,
    SOURCE,
    ensemble,
    model_folder,
    parameters,
    read,
    refusal,
    step,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path)


def test_a_small_model_gets_tritons_defaults(folder: Path) -> None:
    config = read(BASE, folder)
    assert (config.name, config.backend, config.platform, config.max_batch_size) == ("m", "identity", "", 8)
    assert config.inputs == (TensorSpec("x", FP32, (4,)),)
    assert config.outputs == (TensorSpec("y", FP32, (2,)),)
    assert config.dynamic_batching is None
    assert config.instance_groups == (InstanceGroup("KIND_AUTO", 1),)
    assert config.version_policy == VersionPolicy("latest", 1)
    assert (config.warmup, config.ensemble, config.accelerators) == ((), (), ())


def test_tensors(folder: Path) -> None:
    text = (
        'name: "m"'
        + HEAD.replace("identity", "onnxruntime")
        + 'input [ { name: "ids" data_type: TYPE_INT64 dims: [ -1 ]'
        ' allow_ragged_batch: true }, { name: "s" data_type: TYPE_STRING dims: [ 1 ] optional: true } ]'
        ' output { name: "y" data_type: TYPE_FP32 dims: [ -1, 2 ] label_filename: "labels.txt" }'
        ' batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "ends" data_type: TYPE_INT32'
        ' source_input: "ids" } default_model_filename: "encoder.onnx"'
    )
    config = read(text, folder)
    assert config.platform == "onnxruntime_onnx"
    assert config.inputs == (TensorSpec("ids", INT64, (-1,), ragged=True), TensorSpec("s", BYTES, (1,), optional=True))
    assert config.outputs[0].labels == ("cat", "hot dog")
    assert config.batch_inputs == (BatchInput("BATCH_ACCUMULATED_ELEMENT_COUNT", "ends", INT32, "ids"),)
    assert config.default_model_filename == "encoder.onnx"


def test_scheduling(folder: Path) -> None:
    text = BASE + (
        "dynamic_batching { preferred_batch_size: [ 8, 4 ] max_queue_delay_microseconds: 500 priority_levels: 3"
        " default_priority_level: 2 default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 7"
        " allow_timeout_override: true max_queue_size: 9 }"
        " priority_queue_policy { key: 1 value { max_queue_size: 5 } } }"
        ' instance_group [ { name: "g" kind: KIND_GPU count: 2 gpus: [ 0, 1 ] }, { kind: KIND_CPU } ]'
        " version_policy { specific { versions: [ 3, 1 ] } } optimization { input_pinned_memory { enable: false }"
        ' execution_accelerators { gpu_execution_accelerator { name: "tensorrt" parameters { key: "precision_mode"'
        ' value: "FP16" } } cpu_execution_accelerator { name: "openvino" } } }'
    )
    config = read(text, folder)
    batching = config.dynamic_batching
    assert batching is not None
    assert (batching.preferred_batch_sizes, batching.max_queue_delay_microseconds) == ((4, 8), 500)
    assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
    assert batching.default_queue_policy == QueuePolicy("DELAY", 7, True, 9)
    assert batching.priority_queue_policies == {1: QueuePolicy(max_queue_size=5)}
    assert config.instance_groups == (InstanceGroup("KIND_GPU", 2, (0, 1), "g"), InstanceGroup("KIND_CPU"))
    assert config.version_policy == VersionPolicy("specific", specific=(1, 3))
    assert config.accelerators == (Accelerator("tensorrt", {"precision_mode": "FP16"}), Accelerator("openvino", {}))


def test_version_policies(folder: Path) -> None:
    assert read(BASE + "version_policy { all {} }", folder).version_policy.kind == "all"
    assert read(BASE + "version_policy { latest { num_versions: 2 } }", folder).version_policy.latest == 2
    assert read(BASE + "version_policy { latest {} }", folder).version_policy.latest == 1


def test_warmup(folder: Path) -> None:
    text = BASE + (
        'model_warmup { name: "a" batch_size: 4 count: 3 inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ]'
        ' input_data_file: "x.raw" } } } model_warmup { name: "b" inputs { key: "x" value { data_type: TYPE_FP32'
        " dims: [ 4 ] random_data: true } } }"
    )
    first, second = read(text, folder).warmup
    assert (first.name, first.batch_size, first.count) == ("a", 4, 3)
    assert first.inputs == (WarmupInput(TensorSpec("x", FP32, (4,)), "file", str(folder / "warmup" / "x.raw")),)
    assert (second.batch_size, second.count, second.inputs[0].source) == (1, 1, "random")
    no_batch = read(text.replace("max_batch_size: 8", "").replace("batch_size: 4", "batch_size: 1"), folder)
    assert [sample.batch_size for sample in no_batch.warmup] == [0, 0]


def test_ensemble_steps_come_in_an_order_that_runs(folder: Path) -> None:
    config = read(ensemble(step("b", "t", "y"), step("a", "x", "t")), folder)
    assert (config.backend, config.platform) == ("ensemble", "ensemble")
    assert config.ensemble == (
        EnsembleStep("a", -1, {"i": "x"}, {"o": "t"}),
        EnsembleStep("b", -1, {"i": "t"}, {"o": "y"}),
    )
    assert read(ensemble(step("a", "x", "y")).replace('platform: "ensemble"', ""), folder).backend == "ensemble"


def test_fields_at_their_defaults_are_accepted(folder: Path) -> None:
    text = BASE.replace("dims: [ 4 ]", "dims: [ 4 ] format: FORMAT_NONE is_shape_tensor: false")
    text += (
        'runtime: "" model_transaction_policy { decoupled: false } optimization { priority: PRIORITY_DEFAULT graph {'
        " level: 0 } cuda { graphs: false } eager_batching: false } instance_group { rate_limiter { } passive: false"
        ' host_policy: "" } response_cache { enable: false } dynamic_batching { }'
    )
    config = read(text, folder)
    assert config.dynamic_batching is not None


def test_platforms_name_a_backend(folder: Path) -> None:
    text = 'platform: "onnxruntime_onnx"\n' + INPUT + OUTPUT
    assert read(text, folder).backend == "onnxruntime"
    assert read('backend: "onnxruntime"\n' + text, folder).platform == "onnxruntime_onnx"
    assert read('backend: "of_my_own"\n' + INPUT + OUTPUT, folder).backend == "of_my_own"


UNSUPPORTED = [
    ("sequence_batching { iterative_sequence: true }", "sequence_batching.iterative_sequence: true"),
    ('model_operations { op_library_filename: "a.so" }', "model_operations"),
    ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents"),
    ('cc_model_filenames { key: "8.0" value: "m.plan" }', "cc_model_filenames"),
    ('metric_tags { key: "a" value: "b" }', "metric_tags"),
    ("model_metrics { }", "model_metrics"),
    ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled: true"),
    ('runtime: "onnx.so"', "runtime: 'onnx.so'"),
    ("instance_group { rate_limiter { priority: 2 } }", "instance_group[0].rate_limiter.priority: 2"),
    ("instance_group { secondary_devices { device_id: 1 } }", "instance_group[0].secondary_devices"),
    ('instance_group { } instance_group { profile: "0" }', "instance_group[1].profile"),
    ("instance_group { passive: true }", "instance_group[0].passive: true"),
    ('instance_group { host_policy: "numa" }', "instance_group[0].host_policy: 'numa'"),
    ("optimization { graph { level: 1 } }", "optimization.graph.level: 1"),
    ("optimization { priority: PRIORITY_MAX }", "optimization.priority: PRIORITY_MAX"),
    ("optimization { cuda { graphs: true } }", "optimization.cuda.graphs: true"),
    ("optimization { gather_kernel_buffer_threshold: 5 }", "optimization.gather_kernel_buffer_threshold: 5"),
    ("optimization { eager_batching: true }", "optimization.eager_batching: true"),
]


@pytest.mark.parametrize(("text", "expected"), UNSUPPORTED)
def test_unsupported_fields_are_refused_by_name(folder: Path, text: str, expected: str) -> None:
    message = refusal(BASE + text, folder)
    assert expected in message
    assert "is not supported; " in message


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("is_shape_tensor: true", "is_shape_tensor: true"),
        ("is_non_linear_format_io: true", "is_non_linear_format_io: true"),
    ],
)
@pytest.mark.parametrize("tensor", ["input", "output"])
def test_unsupported_tensor_fields(folder: Path, tensor: str, field: str, expected: str) -> None:
    text = BASE.replace(f"{tensor} [ {{", f"{tensor} [ {{ {field}")
    assert f"{tensor}[0].{expected}" in refusal(text, folder)


def newer_config(**fields: object) -> Message:
    """A ModelConfig of a protobuf that is newer than ours: with `ModelConfig.novelty` and `ModelInput.finesse`."""
    file = FileDescriptorProto(name="newer.proto", package="inference", syntax="proto3")
    config, tensor = file.message_type.add(name="ModelConfig"), file.message_type.add(name="ModelInput")
    field = config.field.add
    field(name="name", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    field(name="input", number=5, type="TYPE_MESSAGE", type_name=".inference.ModelInput", label="LABEL_REPEATED")
    field(name="novelty", number=99, type="TYPE_STRING", label="LABEL_REPEATED")
    tensor.field.add(name="finesse", number=99, type="TYPE_INT32", label="LABEL_OPTIONAL")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))(name="m", **fields)


def test_a_field_of_a_newer_protobuf_is_refused_by_name() -> None:
    problems = Problems(SOURCE)
    check_fields(newer_config(novelty=["a"], input=[{}, {"finesse": 3}]), problems)
    with pytest.raises(ModelLoadError) as caught:
        problems.raise_any()
    expected = "input[1].finesse: 3 is not supported; remove it; novelty: is not supported; remove it"
    assert str(caught.value) == f"{SOURCE}: {expected}"
    unset = Problems(SOURCE)
    check_fields(newer_config(input=[{"finesse": 0}]), unset)
    unset.raise_any()


def test_unknown_fields_and_syntax_name_the_line(folder: Path) -> None:
    assert refusal(BASE + 'favourite: "y"', folder).startswith(f"{SOURCE}:5: ")
    assert 'has no field named "favourite"; the nearest is' in refusal(BASE + 'favourite: "y"', folder)
    assert refusal(BASE.replace("dims", "dim"), folder).endswith('no field named "dim"; the nearest is dims')
    assert refusal(BASE + "version_policy { all { n: 1 } }", folder).endswith('no field named "n"; remove it')
    assert refusal(BASE + "max_batch_size: x\n", folder).startswith(f"{SOURCE}:5: ")
    assert "TYPE_FLOAT" in refusal(BASE.replace("TYPE_FP32", "TYPE_FLOAT"), folder)
    assert refusal(BASE + "dynamic_batching { } sequence_batching { }", folder).startswith(f"{SOURCE}:5: ")


def test_all_problems_are_told_at_once(folder: Path) -> None:
    message = refusal('runtime: "r"' + BASE.replace("[ 4 ]", "[ 0 ]") + "instance_group { count: -2 }", folder)
    assert "runtime: 'r'" in message
    assert "input[0].dims[0]: 0 is no dimension" in message
    assert "instance_group[0].count: -2 is negative" in message
    many = refusal(BASE.replace("[ 4 ]", f"[ {', '.join(['0'] * 50)} ]"), folder)
    assert many.endswith("; and 40 more")


def said(text: str) -> str:
    try:
        read(text, Path("m"))
    except ModelLoadError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf's own reading of "\\8"
@given(st.text(max_size=200) | st.text('{}[]:"<>\n #,abeimnoptu_0-9\\', max_size=60))
def test_any_text_raises_nothing_but_model_load_error(text: str) -> None:
    assert len(said(text).splitlines()) <= 1
    assert len(said(BASE + text).splitlines()) <= 1
    assert len(said(BASE + parameters(threads=text)).splitlines()) <= 1


@pytest.mark.parametrize(
    "text", ["\ud800", 'name: "\ud800"', "instance_group { kind: 99999999999999999999 }", 'name: "']
)
def test_text_that_protobuf_itself_stumbles_over(folder: Path, text: str) -> None:
    assert refusal(text, folder)


@given(
    st.integers(1, 2**31 - 1),
    st.lists(st.integers(1, 2**40) | st.just(-1), min_size=1, max_size=4),
    st.text(min_size=1).filter(lambda name: name.isprintable()),
)
def test_what_is_written_is_read_back(size: int, dims: list[int], name: str) -> None:
    proto = ModelConfigProto(backend="b", max_batch_size=size)
    for field in (proto.input, proto.output):
        field.add(name=name, data_type=11, dims=dims)
    config = parse(text_format.MessageToString(proto), source=SOURCE, folder=Path("m"))
    assert config.max_batch_size == size
    assert config.inputs == config.outputs == (TensorSpec(name, FP32, tuple(dims)),)
    assert config.proto == proto


def test_a_python_model_may_leave_its_tensors_to_its_code(folder: Path) -> None:
    text = (
        'backend: "python" model_transaction_policy { decoupled: true } instance_group { kind: KIND_MODEL }'
        ' parameters { key: "mine" value { string_value: "1" } }'
        ' model_warmup { name: "s" inputs { key: "x" value { data_type: TYPE_INT32 dims: [ 3 ] zero_data: true } } }'
    )
    config = read(text, folder)
    assert (config.inputs, config.outputs, config.decoupled) == ((), (), True)
    assert config.instance_groups[0].kind == "KIND_MODEL"
    assert config.parameters == {"mine": "1"}
    assert config.warmup[0].inputs == (WarmupInput(TensorSpec("x", INT32, (3,)), "zero"),)


def test_reshapes_and_scattered_outputs(folder: Path) -> None:
    text = BASE.replace("dims: [ 4 ]", "dims: [ 4 ] reshape { shape: [ 2, 1, 2 ] }") + "response_cache { enable: true }"
    text += 'batch_output { target_name: "y" source_input: "x" }'
    config = read(text, folder)
    assert config.inputs == (TensorSpec("x", FP32, (4,)),)
    assert (config.input_reshapes, config.output_reshapes) == ({"x": (2, 1, 2)}, {})
    assert config.batch_outputs == (BatchOutput("y", "x", (2,)),)
    assert config.response_cache
    one = BASE.replace("dims: [ 4 ]", "dims: [ 1 ] reshape { }")
    assert read(one, folder).input_reshapes == {"x": ()}
    deep = BASE.replace("dims: [ 4 ]", "dims: [ 2, 4, -1, 6 ] reshape { shape: [ 8, -1, 1, 6 ] }")
    assert read(deep, folder).input_reshapes == {"x": (8, -1, 1, 6)}
