"""The Open Inference Protocol over gRPC: single calls, streams, control, and bytes that are no message."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb

from tests.hostile.cases import BAD, Case, Grpc
from tests.hostile.rest import NAMES

GONE = ("NOT_FOUND",)
WRONG = ("INVALID_ARGUMENT", "NOT_FOUND")
ANY = ("OK", *WRONG, "UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
PRINTED = tuple(name for name in NAMES if name != "a lone surrogate")
"""Protobuf itself refuses to send the others."""


def request(raw: list[bytes] | None = None, model: str = "identity", **tensor: Any) -> pb.ModelInferRequest:
    """One row of two numbers for identity, with some of it changed."""
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[bytes(8)] if raw is None else raw)
    message.inputs.add(**{"name": "INPUT0", "datatype": "FP32", "shape": [1, 2], **tensor})
    return message


def parameter(name: str, **kind: Any) -> pb.ModelInferRequest:
    """A good request with one parameter."""
    message = request()
    message.parameters[name].CopyFrom(pb.InferParameter(**kind))
    return message


def cases() -> Iterator[Case]:
    """All of them; each request for a model goes both ways, as a call and on a stream."""
    for name, message, statuses in _infers():
        yield Case(f"grpc: {name}", Grpc("ModelInfer", [message]), statuses)
        on_stream = ("OK", "REFUSED") if "OK" in statuses else ("REFUSED",)
        yield Case(f"grpc stream: {name}", Grpc("ModelStreamInfer", [message]), on_stream)
    yield from _streams()
    yield from _bytes()
    yield from _control()


def _infers() -> Iterator[tuple[str, Message, tuple[str, ...]]]:
    for size in (0, 1, 7, 9, 1_000_000):
        yield f"{size} raw bytes for 8", request([bytes(size)]), BAD
    yield "no raw contents", request([]), BAD
    yield "1,000 raw contents", request([b""] * 1000), BAD
    for shape in ([2**31, 2**33], [2**62] * 4, [-1, 2], [-(2**63)], [0, 2**62], [], [1] * 100, [2**63 - 1] * 1000):
        yield f"shape {str(shape)[:30]}", request(shape=shape), BAD
    for datatype in ("", "FP64", "fp32", "BYTES", "BF16", "\0", "x" * 100_000):
        yield f"datatype {datatype[:10]!r}", request(datatype=datatype), BAD
    for text in (b"\xff\xff\xff\xff", b"\x05\0\0\0ab", b"\0", b"\xff\xff\xff\x7fabcd"):
        yield f"a text of {text!r}", request([text], datatype="BYTES", shape=[1, 1]), BAD
    for kind in PRINTED:
        yield f"input named like {kind}", request(name=NAMES[kind]), BAD
        yield f"model named like {kind}", request(model=NAMES[kind]), GONE
        named = request()
        named.id = NAMES[kind]
        yield f"id like {kind}", named, ANY
    twice = request([bytes(8)] * 2)
    twice.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 2])
    yield "an input twice", twice, BAD
    many = pb.ModelInferRequest(model_name="identity")
    many.inputs.extend([pb.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="FP32", shape=[1])] * 20_000)
    yield "20,000 inputs", many, BAD
    wanted = request()
    wanted.outputs.extend([pb.ModelInferRequest.InferRequestedOutputTensor(name="OUTPUT0")] * 20_000)
    yield "an output 20,000 times", wanted, BAD
    for version in ("0", "-1", "../1", "1\0", "9" * 1000, "١", "latest"):
        message = request()
        message.model_version = version
        yield f"version {version[:10]!r}", message, WRONG
    yield from _parameters()


def _parameters() -> Iterator[tuple[str, Message, tuple[str, ...]]]:
    given: dict[str, dict[str, Any]] = {
        "timeout": {"int64_param": -(2**63)},
        "priority": {"uint64_param": 2**64 - 1},
        "sequence_id": {"uint64_param": 2**64 - 1},
        "sequence_end": {"bool_param": True},
        "triton_enable_empty_final_response": {"string_param": "x"},
        "binary_data_size": {"int64_param": -1},
        "shared_memory_region": {"string_param": "../../mem"},
        "min_quality": {"double_param": float("nan")},
        "x" * 100_000: {"string_param": "\r\n\0"},
    }
    for name, kind in given.items():
        yield f"parameter {name[:40]}", parameter(name, **kind), ANY


def _streams() -> Iterator[Case]:
    bad, good = request([b""]), request()
    yield Case("grpc stream: nothing", Grpc("ModelStreamInfer", []), ("OK",))
    yield Case("grpc stream: good after bad", Grpc("ModelStreamInfer", [bad, good]), ("REFUSED",))
    yield Case("grpc stream: 200 bad ones", Grpc("ModelStreamInfer", [bad] * 200), ("REFUSED",))
    yield Case("grpc stream: noise", Grpc("ModelStreamInfer", [b"\xff" * 100]), ("REFUSED", *BAD))
    steps = [parameter("sequence_id", int64_param=5) for _ in range(3)]
    steps[0].parameters["sequence_end"].bool_param = True
    yield Case("grpc stream: a sequence from its end", Grpc("ModelStreamInfer", steps), ("OK",))


def _bytes() -> Iterator[Case]:
    good = request().SerializeToString()
    bodies = {
        "noise": bytes(range(256)) * 40,
        "cut": good[:-3],
        "a group that never ends": b"\x0b" * 10_000,
        "groups in groups": b"\x0b" * 100_000 + b"\x0c" * 100_000,
        "a length beyond the end": b"\x0a\xff\xff\xff\xff\x0f",
        "a number of eleven bytes": b"\x08" + b"\xff" * 10 + b"\x01",
        "not UTF-8": b"\x0a\x02\xff\xfe",
        "field 0": b"\x00\x00",
    }
    for method in ("ModelInfer", "ModelMetadata", "ModelConfig", "RepositoryModelLoad"):
        for name, body in bodies.items():
            yield Case(f"grpc bytes: {method}, {name}", Grpc(method, [body]), (*BAD, "NOT_FOUND"))
    yield Case("grpc: 70 MB", Grpc("ModelInfer", [request([bytes(70_000_000)])]), ("RESOURCE_EXHAUSTED",))
    yield Case("grpc: a method of nobody", Grpc("../../Shell", [b""]), ("UNIMPLEMENTED",))
    metadata: dict[str, str | bytes] = {
        "x-deadline-ms": "-1",
        "x-priority": "first",
        "x-min-quality": "nan",
        "x-variant": "../x",
        "x-explain": "yes",
        "x-request-id": "<script>",
        "noise-bin": bytes(range(256)),
        "grpc-timeout-x": "1" * 4000,
    }
    for name, value in metadata.items():
        yield Case(f"grpc metadata: {name}", Grpc("ModelInfer", [request()], [(name, value)]), ANY)


def _control() -> Iterator[Case]:
    for kind in PRINTED:
        name = NAMES[kind]
        load = pb.RepositoryModelLoadRequest(model_name=name)
        yield Case(f"grpc load: a model like {kind}", Grpc("RepositoryModelLoad", [load]), WRONG)
        metadata = pb.ModelMetadataRequest(name=name)
        yield Case(f"grpc metadata of a model like {kind}", Grpc("ModelMetadata", [metadata]), GONE)
    for path in ("../../x", "/etc/cron.d/x", "1/../../../x", "a\0b", "x" * 5000, "config.pbtxt", "1/", "", "."):
        load = pb.RepositoryModelLoadRequest(model_name="sent")
        load.parameters["config"].string_param = '{"backend": "identity"}'
        load.parameters[f"file:{path}"].bytes_param = b"x"
        yield Case(f"grpc load: the file {path[:20]!r}", Grpc("RepositoryModelLoad", [load]), BAD)
