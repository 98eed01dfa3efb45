"""The `batchyard.` parameters: what is read, what is refused."""

from pathlib import Path

import pytest

from engines.model_config import Packing, TextInput
from tests.engines.config_text import BASE, OUTPUT, ensemble, model_folder, parameters, read, refusal, step

PADDED = BASE.replace("TYPE_FP32 dims: [ 4 ]", "TYPE_INT64 dims: [ -1 ]")
PACKED = (
    'backend: "onnxruntime"\nmax_batch_size: 64\n'
    + "".join(
        f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n'
        for name in ("input_ids", "position_ids", "segment_ids")
    )
    + OUTPUT
)
WIDTHS = parameters(packing__widths="16, 32,64", packing__max_tokens="512")
TEXT = parameters(text__tokenizer="tokenizer.json", text__max_tokens="64")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path)


def test_a_model_without_parameters(folder: Path) -> None:
    config = read(BASE, folder)
    assert (config.text, config.packing, config.padding, config.parameters) == (None, None, {}, {})
    assert (config.precision, config.threads, config.device, config.tolerance) == ("fp32", 0, "", 0.9999)


def test_a_packed_text_model(folder: Path) -> None:
    settings = parameters(text__truncate="true", precision="int8", threads="2", device="GPU.0", tolerance="0.98")
    config = read(PACKED + WIDTHS + TEXT + settings, folder)
    assert config.packing == Packing((16, 32, 64), 512)
    assert config.text == TextInput("tokenizer.json", 64, truncate=True)
    assert (config.precision, config.threads, config.device, config.tolerance) == ("int8", 2, "GPU.0", 0.98)
    assert config.parameters["batchyard.packing.widths"] == "16, 32,64"


def test_packed_inputs_may_be_declared_ragged_and_need_no_tokenizer(folder: Path) -> None:
    config = read(PACKED.replace("[ -1 ]", "[ -1 ] allow_ragged_batch: true") + WIDTHS, folder)
    assert config.packing is not None
    assert config.text is None


def test_padding_and_free_keys(folder: Path) -> None:
    free = parameters(padding__x="-100", identity__delay_ms="5", linear__of="minilm")
    foreign = 'parameters { key: "EXECUTION_ENV_PATH" value { string_value: "/env" } }'
    config = read(PADDED + free + foreign, folder)
    assert config.padding == {"x": -100}
    assert config.parameters["batchyard.identity.delay_ms"] == "5"
    assert config.parameters["EXECUTION_ENV_PATH"] == "/env"


def test_an_ensemble_may_not_be_packed(folder: Path) -> None:
    assert "the inputs are x" in refusal(ensemble(step("a", "x", "y")) + WIDTHS, folder)


UNKNOWN = [
    ({"text__max_token": "5"}, "batchyard.text.max_tokens"),
    ({"presision": "fp32"}, "batchyard.precision"),
    ({"pading__x": "0"}, "batchyard.padding."),
    ({"identidy__delay": "0"}, "batchyard.identity."),
]


@pytest.mark.parametrize(("given", "nearest"), UNKNOWN)
def test_unknown_keys_name_the_nearest(folder: Path, given: dict[str, str], nearest: str) -> None:
    message = refusal(BASE + parameters(**given), folder)
    (key,) = given
    assert f'parameters["batchyard.{key.replace("__", ".")}"]' in message
    assert f"the nearest is {nearest}" in message


VALUES = {
    "precision": (
        BASE + parameters(precision="fp8"),
        "batchyard.precision\"]: 'fp8'; use fp32 or bf16 or fp16 or int8",
    ),
    "threads 0": (BASE + parameters(threads="0"), "batchyard.threads\"]: '0'; give CPU threads"),
    "threads half": (BASE + parameters(threads="1.5"), "batchyard.threads\"]: '1.5'"),
    "threads arabic": (BASE + parameters(threads="٣"), "batchyard.threads\"]: '٣'"),
    "device": (BASE + parameters(device=""), "batchyard.device\"]: ''; name a device"),
    "tolerance word": (BASE + parameters(tolerance="tight"), "batchyard.tolerance\"]: 'tight'"),
    "tolerance nan": (BASE + parameters(tolerance="nan"), "batchyard.tolerance\"]: 'nan'"),
    "tolerance high": (BASE + parameters(tolerance="1.01"), "batchyard.tolerance\"]: '1.01'"),
    "tolerance 0": (BASE + parameters(tolerance="0"), "batchyard.tolerance\"]: '0'"),
}

TEXTS = {
    "no tokenizer": (parameters(text__max_tokens="8"), 'batchyard.text.tokenizer"]: is missing'),
    "no window": (parameters(text__tokenizer="tokenizer.json"), 'batchyard.text.max_tokens"]: is missing'),
    "window 0": (TEXT.replace('"64"', '"0"'), "batchyard.text.max_tokens\"]: '0'"),
    "window": (
        TEXT.replace('"64"', '"65"'),
        "batchyard.text.max_tokens\"]: '65'; it is above the largest row width, 64",
    ),
    "truncate": (TEXT + parameters(text__truncate="yes"), "batchyard.text.truncate\"]: 'yes'; use false or true"),
    "absent": (TEXT.replace("tokenizer.json", "no.json"), "batchyard.text.tokenizer\"]: 'no.json' is not in 'm'"),
    "parent": (TEXT.replace("tokenizer.json", "../outside.json"), "'../outside.json' is no path inside its"),
    "absolute": (TEXT.replace("tokenizer.json", "/etc/hosts"), "'/etc/hosts' is no path inside its"),
    "link": (TEXT.replace("tokenizer.json", "link.json"), "'link.json' is a link that leads out of 'm'"),
    "nul": (TEXT.replace("tokenizer.json", "a\\\\000"), "batchyard.text.tokenizer\"]: 'a"),
}

LAYOUTS = {
    "no widths": (PACKED + parameters(packing__max_tokens="8"), 'batchyard.packing.widths"]: is missing'),
    "no tokens": (PACKED + parameters(packing__widths="16"), 'batchyard.packing.max_tokens"]: is missing'),
    "few tokens": (PACKED + WIDTHS.replace("512", "63"), "batchyard.packing.max_tokens\"]: '63'"),
    "descending": (PACKED + WIDTHS.replace("16, 32", "32,16"), "batchyard.packing.widths\"]: '32,16,64'"),
    "twice": (PACKED + WIDTHS.replace("32,", "64,"), "batchyard.packing.widths\"]: '16, 64,64'"),
    "narrow": (PACKED + WIDTHS.replace("16,", "3,"), "batchyard.packing.widths\"]: '3, 32,64'"),
    "word": (PACKED + WIDTHS.replace("16,", "a,"), "batchyard.packing.widths\"]: 'a, 32,64'"),
    "hole": (PACKED + WIDTHS.replace("16,", ","), "batchyard.packing.widths\"]: ', 32,64'"),
    "names": (PACKED.replace("segment_ids", "mask") + WIDTHS, "the inputs are input_ids, mask, position_ids; a packed"),
    "type": (PACKED.replace("INT64", "INT32", 1) + WIDTHS, "input 'input_ids' is TYPE_INT32 with dims [-1]"),
    "dims": (PACKED.replace("-1", "64", 1) + WIDTHS, "input 'input_ids' is TYPE_INT64 with dims [64]"),
    "unbatched": (PACKED.replace("size: 64", "size: 0") + WIDTHS, "max_batch_size is 0; a packed model batches"),
    "padded too": (
        PACKED + WIDTHS + parameters(padding__input_ids="0"),
        "padding.input_ids\"]: '0' given, but a packed",
    ),
    "no input": (PADDED + parameters(padding__z="0"), "batchyard.padding.z\"]: there is no input 'z'; use one of x"),
    "fixed": (BASE + parameters(padding__x="0"), "batchyard.padding.x\"]: input 'x' has dims [4]"),
    "filler": (PADDED + parameters(padding__x="zero"), "batchyard.padding.x\"]: 'zero'; give the filler"),
    "range": (PADDED.replace("INT64", "INT8") + parameters(padding__x="128"), "'128'; give the filler, a TYPE_INT8"),
    "strings": (PADDED.replace("INT64", "STRING") + parameters(padding__x="0"), "input 'x' is TYPE_STRING"),
    "ragged": (
        PADDED.replace("[ -1 ]", "[ -1 ] allow_ragged_batch: true") + parameters(padding__x="0"),
        "input 'x' has allow_ragged_batch: true",
    ),
    "text input": (BASE.replace('"x"', '"text"') + TEXT, "'tokenizer.json' adds an input 'text'"),
}

CASES = {
    f"{group}: {name}": case
    for group, cases in (
        ("value", VALUES),
        ("text", {name: (PACKED + WIDTHS + text, expected) for name, (text, expected) in TEXTS.items()}),
        ("layout", LAYOUTS),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_refused(folder: Path, text: str, expected: str) -> None:
    assert expected in refusal(text, folder)


def test_packing_knows_no_batch_input(folder: Path) -> None:
    extra = 'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_INT32 source_input: "input_ids" }'
    text = PACKED.replace("[ -1 ]", "[ -1 ] allow_ragged_batch: true") + extra
    assert read(text, folder).batch_inputs[0].target_name == "n"
    assert "batch_input is not made for a packed model" in refusal(text + WIDTHS, folder)
