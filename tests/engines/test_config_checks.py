"""Each value that config.pbtxt may not have is refused with its field, the value and what to do."""

from pathlib import Path

import pytest

from tests.engines.config_text import BASE, HEAD, INPUT, OUTPUT, ensemble, model_folder, refusal, step

RAGGED = BASE.replace("dims: [ 4 ]", "dims: [ -1 ] allow_ragged_batch: true")
BATCH_INPUT = 'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 source_input: "x" }'
LABELS = BASE.replace("dims: [ 2 ]", 'dims: [ 2 ] label_filename: "labels.txt"')
SAMPLE = 'name: "s" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }'
LEVELS = "dynamic_batching { priority_levels: 2 default_priority_level: 1 "


def warmup(old: str = "", new: str = "") -> str:
    assert old in SAMPLE
    return f"{BASE}model_warmup {{ {SAMPLE.replace(old, new) if old else SAMPLE} }}"


MODEL = {
    "other name": ('name: "other"' + BASE, "name: 'other' is not the name of the folder, 'm'"),
    "negative batch": (BASE.replace("size: 8", "size: -1"), "max_batch_size: -1 is negative"),
    "no backend": (INPUT + OUTPUT, "backend: is missing"),
    "unknown platform": ('platform: "caffe2_netdef"' + INPUT + OUTPUT, "platform: 'caffe2_netdef' is not known"),
    "two backends": (
        'platform: "onnxruntime_onnx"' + BASE,
        "backend: 'identity' contradicts platform 'onnxruntime_onnx'",
    ),
    "file outside": (BASE + 'default_model_filename: "../a"', "default_model_filename: '../a' is no path inside its"),
    "file absolute": (BASE + 'default_model_filename: "/a"', "default_model_filename: '/a' is no path inside its"),
    "no input": (HEAD + OUTPUT, "input: is missing"),
    "no output": (HEAD + INPUT, "output: is missing"),
}

TENSORS = {
    "bf16": (BASE.replace("TYPE_FP32", "TYPE_BF16", 1), "input[0].data_type: TYPE_BF16 is not served; use TYPE_FP32"),
    "no type": (BASE.replace("data_type: TYPE_FP32", "", 1), "input[0].data_type: is missing; use one of TYPE_BOOL"),
    "type number": (BASE.replace("TYPE_FP32", "99", 1), "input[0].data_type: 99 is not served"),
    "no dims": (BASE.replace("dims: [ 2 ]", ""), "output[0].dims: is missing"),
    "zero dim": (BASE.replace("[ 4 ]", "[ 4, 0 ]"), "input[0].dims[1]: 0 is no dimension"),
    "dim -2": (BASE.replace("[ 2 ]", "[ -2 ]"), "output[0].dims[0]: -2 is no dimension"),
    "no name": (BASE.replace('name: "x"', ""), "input[0].name: is missing"),
    "same input": (BASE + INPUT, "input[1].name: 'x' is there twice"),
    "same output": (BASE + OUTPUT, "output[1].name: 'y' is there twice"),
    "nhwc": (BASE.replace("dims: [ 4 ]", "dims: [ 4 ] format: FORMAT_NHWC"), "input[0].format: FORMAT_NHWC is not"),
    "ragged alone": (RAGGED.replace("size: 8", "size: 0"), "input[0].allow_ragged_batch: true needs batches"),
    "labels absent": (LABELS.replace("labels.txt", "no.txt"), "label_filename: 'no.txt' is not in 'm'"),
    "labels outside": (LABELS.replace("labels.txt", "../outside.json"), "'../outside.json' is no path inside its"),
    "labels by link": (LABELS.replace("labels.txt", "link.json"), "'link.json' is a link that leads out of 'm'"),
    "labels a folder": (LABELS.replace("labels.txt", "warmup"), "'warmup' in 'm' is not a plain file"),
    "labels too many": (LABELS.replace("labels.txt", "three.txt"), "'three.txt' has 3 labels, the last dimension is 2"),
    "labels latin": (LABELS.replace("labels.txt", "latin.txt"), "'latin.txt' is not UTF-8 at byte 3"),
}

RESHAPED = BASE.replace("dims: [ 4 ]", "dims: [ 4 ] reshape { shape: [ 2, 2 ] }")
RESHAPES = {
    "zero": (RESHAPED.replace("[ 2, 2 ]", "[ 4, 0 ]"), "input[0].reshape: [4, 0] has a size that is no dimension"),
    "elements": (RESHAPED.replace("[ 2, 2 ]", "[ 2, 3 ]"), "[2, 3] holds other numbers of elements than dims, [4]"),
    "empty": (RESHAPED.replace("[ 2, 2 ]", "[ ]"), "[] holds other numbers of elements than dims, [4]"),
    "scalar": (
        RESHAPED.replace("size: 8", "size: 0").replace("[ 4 ]", "[ 1 ]").replace("[ 2, 2 ]", "[ ]"),
        "[] leaves no dimension",
    ),
    "open": (RESHAPED.replace("[ 2, 2 ]", "[ -1, 4 ]"), "[-1, 4] has another number of sizes of -1 than dims, [4]"),
    "parts": (
        RESHAPED.replace("dims: [ 4 ]", "dims: [ 2, 4, -1, 6 ]").replace("[ 2, 2 ]", "[ 8, 6, -1 ]"),
        "[8, 6, -1] holds other numbers of elements",
    ),
    "output": (BASE.replace("[ 2 ]", "[ 2 ] reshape { shape: [ 3 ] }"), "output[0].reshape: [3] holds other"),
    "ragged": (RESHAPED.replace("dims: [ 4 ]", "dims: [ 4 ] allow_ragged_batch: true"), "contradicts allow_ragged"),
    "source": (RESHAPED + BATCH_INPUT, "batch_input[0]: contradicts reshape of 'x'"),
}

BATCH_OUTPUT = 'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }'
BATCH_OUTPUTS = {
    "no target": (BASE + BATCH_OUTPUT.replace('"y"', '"z"'), "batch_output[0].target_name: 'z' is no output; use"),
    "no source": (BASE + BATCH_OUTPUT.replace('"x"', '"z"'), "batch_output[0].source_input: 'z' is no input that"),
    "sources": (BASE + BATCH_OUTPUT.replace('"x"', '[ "x", "x" ]'), "source_input: ['x', 'x'] given; give exactly"),
    "twice": (BASE + BATCH_OUTPUT + BATCH_OUTPUT, "batch_output[1].target_name: 'y' is there twice"),
    "unbatched": (BASE.replace("size: 8", "size: 0") + BATCH_OUTPUT, "batch_output[0]: needs batches"),
    "fewer dims": (BASE.replace("[ 2 ]", "[ 2, 3 ]") + BATCH_OUTPUT, "'x' has fewer dims than 'y'"),
    "reshaped": (BASE.replace("[ 2 ]", "[ 2 ] reshape { shape: [ 2, 1 ] }") + BATCH_OUTPUT, "contradicts reshape of"),
}

TRANSACTIONS = {
    "decoupled": (BASE + "model_transaction_policy { decoupled: true }", "decoupled: true is not supported; it is for"),
    "cached": (
        BASE.replace("identity", "python")
        + "model_transaction_policy { decoupled: true } response_cache { enable: true }",
        "response_cache.enable: true contradicts a decoupled model",
    ),
    "archive": (
        BASE.replace("identity", "python") + 'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "e" } }',
        "'e' is not supported: archives",
    ),
}

BATCH_INPUTS = {
    "no target": (BATCH_INPUT.replace('"n"', "[ ]"), "batch_input[0].target_name: [] given; give exactly one"),
    "two sources": (BATCH_INPUT.replace('"x"', '[ "x", "x" ]'), "source_input: ['x', 'x'] given; give exactly one"),
    "no source": (BATCH_INPUT.replace('"x"', '"z"'), "batch_input[0].source_input: 'z' is no input that is"),
    "taken": (BATCH_INPUT.replace('"n"', '"x"'), "batch_input[0].target_name: 'x' is there twice"),
    "type": (BATCH_INPUT.replace("INT32", "INT64"), "batch_input[0].data_type: TYPE_INT64 is not served here"),
    "kind": (BATCH_INPUT.replace("BATCH_ELEMENT_COUNT", "42"), "batch_input[0].kind: 42 is not served"),
}

SCHEDULING = {
    "unbatched": (BASE.replace("size: 8", "size: 0") + "dynamic_batching { }", "dynamic_batching: max_batch_size is 0"),
    "preferred": (BASE + "dynamic_batching { preferred_batch_size: [ 4, 9 ] }", "preferred_batch_size[1]: 9 is not"),
    "preferred 0": (BASE + "dynamic_batching { preferred_batch_size: 0 }", "preferred_batch_size[0]: 0 is not from 1"),
    "no default": (BASE + "dynamic_batching { priority_levels: 2 }", "default_priority_level: 0 is not from 1 to"),
    "default high": (BASE + LEVELS.replace("el: 1", "el: 3") + "}", "default_priority_level: 3 is not from 1 to"),
    "no levels": (BASE + "dynamic_batching { default_priority_level: 1 }", "default_priority_level: 1 given without"),
    "policy level": (BASE + LEVELS + "priority_queue_policy { key: 3 value { } } }", "priority_queue_policy[3]: 3 is"),
    "order": (BASE + LEVELS + "preserve_ordering: true }", "preserve_ordering: true contradicts 2 priority_levels"),
    "action": (BASE + "dynamic_batching { default_queue_policy { timeout_action: 7 } }", "timeout_action: 7 is not"),
    "kind model": (BASE + "instance_group { kind: KIND_MODEL }", "instance_group[0].kind: KIND_MODEL is not served"),
    "count": (BASE + "instance_group { count: -1 }", "instance_group[0].count: -1 is negative"),
    "cpu gpus": (BASE + "instance_group { kind: KIND_CPU gpus: [ 0 ] }", "instance_group[0].gpus: [0] given with"),
    "gpu twice": (BASE + "instance_group { kind: KIND_GPU gpus: [ 0, 0 ] }", "gpus[1]: 0 is negative or there twice"),
    "no versions": (BASE + "version_policy { specific { } }", "version_policy.specific.versions: is empty"),
    "version 0": (BASE + "version_policy { specific { versions: [ 1, 0 ] } }", "versions[1]: 0 is no version"),
    "accelerator": (
        BASE + "optimization { execution_accelerators { cpu_execution_accelerator { } } }",
        "cpu_execution_accelerator[0].name: is missing",
    ),
}

WARMUP = {
    "no name": (warmup('name: "s"'), "model_warmup[0].name: is missing"),
    "batch": (warmup('name: "s"', 'name: "s" batch_size: 9'), "model_warmup[0].batch_size: 9 is above max_batch_size"),
    "unbatched": (
        warmup('name: "s"', 'name: "s" batch_size: 2').replace("max_batch_size: 8", ""),
        "model_warmup[0].batch_size: 2 given, max_batch_size is 0",
    ),
    "unknown": (warmup('key: "x"', 'key: "z"'), 'model_warmup[0].inputs["z"]: the model has no such input; use x'),
    "absent": (warmup('key: "x"', 'key: "z"'), "model_warmup[0].inputs: input 'x' is missing"),
    "type": (warmup("FP32", "INT8"), 'inputs["x"].data_type: TYPE_INT8 given, the input is TYPE_FP32'),
    "dims": (warmup("[ 4 ]", "[ 5 ]"), 'inputs["x"].dims: [5] does not fit the input\'s dims [4]'),
    "any dims": (warmup("[ 4 ]", "[ -1 ]"), 'inputs["x"].dims: [-1] does not fit'),
    "no data": (warmup("zero_data: true"), 'inputs["x"]: has no data'),
    "no file": (warmup("zero_data: true", 'input_data_file: "no"'), "input_data_file: 'no' is not in 'warmup'"),
    "escape": (warmup("zero_data: true", 'input_data_file: "../labels.txt"'), "'../labels.txt' is no path inside"),
}

STEP = step("a", "x", "y")
ENSEMBLES = {
    "no steps": (ensemble(), "ensemble_scheduling.step: is missing"),
    "no scheduling": ('platform: "ensemble"' + INPUT + OUTPUT, "ensemble_scheduling: is missing"),
    "backend": ('backend: "identity"' + ensemble(STEP), "backend: 'identity' contradicts"),
    "platform": (ensemble(STEP).replace('"ensemble"', '"tensorrt_plan"'), "platform: 'tensorrt' contradicts"),
    "itself": (ensemble(step("m", "x", "y")), "step[0].model_name: 'm' is this ensemble itself"),
    "no model": (ensemble(step("", "x", "y")), "step[0].model_name: is missing"),
    "version": (ensemble(STEP.replace('"a"', '"a" model_version: -2')), "step[0].model_version: -2 is no version"),
    "no map": (
        ensemble('step { model_name: "a" output_map { key: "o" value: "y" } }'),
        "step[0].input_map: is missing",
    ),
    "empty name": (ensemble(step("a", "x", "")), 'step[0].output_map["o"]: has an empty name'),
    "no source": (ensemble(step("a", "z", "y")), "step[0].input_map[\"i\"]: 'z' comes from no input"),
    "circle": (ensemble(step("a", "t", "u"), step("b", "u", "t"), STEP), "step[1].input_map[\"i\"]: 'u' comes from no"),
    "not made": (ensemble(step("a", "x", "t")), "output[0].name: 'y' is made by no step"),
    "made twice": (ensemble(STEP, STEP), "step[1].output_map[\"o\"]: 'y' already comes from step[0]"),
    "overwritten": (ensemble(STEP, step("b", "y", "x")), "'x' already comes from an input of the ensemble"),
    "unused": (ensemble(STEP, step("b", "x", "t")), "step[1].output_map[\"o\"]: 't' is taken by no step"),
    "untaken": (
        ensemble(STEP).replace("input [", 'input [ { name: "w" data_type: TYPE_FP32 dims: [ 1 ] },', 1),
        "input[0].name: 'w' is taken by no step",
    ),
    "warm-up": (ensemble(STEP) + 'model_warmup { name: "s" }', "model_warmup: an ensemble runs no engine"),
    "instances": (ensemble(STEP) + "instance_group { count: 2 }", "instance_group: an ensemble runs no engine"),
    "namespace": (ensemble(STEP.replace('"a"', '"a" model_namespace: "n"')), "step[0].model_namespace: 'n' is not"),
    "inflight": (ensemble(STEP, "max_inflight_requests: 3"), "max_inflight_requests: 3 is not supported"),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("model", MODEL),
        ("tensors", TENSORS),
        ("batch input", {name: (RAGGED + text, expected) for name, (text, expected) in BATCH_INPUTS.items()}),
        ("reshape", RESHAPES),
        ("batch output", BATCH_OUTPUTS),
        ("transactions", TRANSACTIONS),
        ("scheduling", SCHEDULING),
        ("warmup", WARMUP),
        ("ensemble", ENSEMBLES),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(text, model_folder(tmp_path))
