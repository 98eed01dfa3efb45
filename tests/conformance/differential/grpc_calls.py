"""gRPC calls: those that a server answers, and those that it refuses."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb

from tests.conformance.differential.exchange import Grpc
from tests.conformance.differential.http_good import PAIRS
from tests.conformance.differential.tensors import VALUES, Tensor, ints

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT64": "uint64_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}


def good_calls() -> Iterator[Grpc]:
    """Those that a server answers, in the order in which they are to be made."""
    yield from _metadata()
    yield from _pairs()
    yield from _types()
    yield from _streams()


def bad_calls() -> Iterator[Grpc]:
    """Those that it refuses, and those whose batches are a matter of luck."""
    yield stream("of one model", *[request("simple", *PAIRS["simple"], id=str(n)) for n in range(3)])
    yield from _bad()
    yield from _unknown()
    yield from _bad_streams()


def request(model: str, *tensors: Tensor, raw: bool = True, **fields: Any) -> pb.ModelInferRequest:
    """An infer request with its tensors as raw bytes or in typed contents; `fields`: of the message."""
    made = pb.ModelInferRequest(model_name=model, **fields)
    for tensor in tensors:
        given = made.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            made.raw_input_contents.append(tensor.raw())
        else:
            values = [v.encode() if isinstance(v, str) else v for v in tensor.values]
            getattr(given.contents, _CONTENTS[tensor.datatype]).extend(values)
    return made


def infer(name: str, message: pb.ModelInferRequest) -> Grpc:
    """One ModelInfer."""
    return Grpc(f"grpc {name}", "ModelInfer", (message,))


def stream(name: str, *messages: pb.ModelInferRequest) -> Grpc:
    """One ModelStreamInfer with these requests."""
    return Grpc(f"grpc stream {name}", "ModelStreamInfer", messages)


def _metadata() -> Iterator[Grpc]:
    messages: dict[str, Message] = {
        "ServerLive": pb.ServerLiveRequest(),
        "ServerReady": pb.ServerReadyRequest(),
        "ServerMetadata": pb.ServerMetadataRequest(),
        "RepositoryIndex": pb.RepositoryIndexRequest(),
        "TraceSetting": pb.TraceSettingRequest(),
        "LogSettings": pb.LogSettingsRequest(),
        "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest(),
        "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
    }
    for rpc, message in messages.items():
        yield Grpc(f"grpc {rpc}", rpc, (message,))
    for model in ("simple", "repeat_int32", "simple_sequence", "ensemble_simple", "identity_types"):
        for version in ("", "1"):
            yield from _about(model, version)


def _about(name: str, version: str) -> Iterator[Grpc]:
    title = f"{name!r} {version!r}"
    yield Grpc(f"grpc ready {title}", "ModelReady", (pb.ModelReadyRequest(name=name, version=version),))
    yield Grpc(f"grpc metadata {title}", "ModelMetadata", (pb.ModelMetadataRequest(name=name, version=version),))
    yield Grpc(f"grpc config {title}", "ModelConfig", (pb.ModelConfigRequest(name=name, version=version),))


def _pairs() -> Iterator[Grpc]:
    for model, pair in PAIRS.items():
        for raw in (True, False):
            kind = "raw" if raw else "typed"
            yield infer(f"{model} {kind}", request(model, *pair, raw=raw))
            yield infer(f"{model} {kind} id, version", request(model, *pair, raw=raw, id="a-7", model_version="1"))
            for names in (["OUTPUT0"], ["OUTPUT1", "OUTPUT0"]):
                message = request(model, *pair, raw=raw)
                for name in names:
                    message.outputs.add(name=name)
                yield infer(f"{model} {kind} {names}", message)


def _types() -> Iterator[Grpc]:
    for datatype, values in VALUES.items():
        name = "STRING" if datatype == "BYTES" else datatype
        for count in (3, 0):
            tensor = Tensor(f"INPUT_{name}", datatype, (count,), tuple(values[:count]))
            yield infer(f"type {datatype} of {count} raw", request("identity_types", tensor))
            if datatype != "FP16":
                yield infer(f"type {datatype} of {count} typed", request("identity_types", tensor, raw=False))


def _repeat(*values: int, **fields: Any) -> pb.ModelInferRequest:
    count = len(values)
    delays = Tensor("DELAY", "UINT32", (count,), (1,) * count)
    tensors = (Tensor("IN", "INT32", (count,), values), delays, Tensor("WAIT", "UINT32", (1,), (1,)))
    return request("repeat_int32", *tensors, **fields)


def _step(model: str, value: int, id: int | str, *, start: bool = False, end: bool = False) -> pb.ModelInferRequest:
    message = request(model, ints("INPUT", 1, value))
    if isinstance(id, str):
        message.parameters["sequence_id"].string_param = id
    else:
        message.parameters["sequence_id"].int64_param = id
    message.parameters["sequence_start"].bool_param = start
    message.parameters["sequence_end"].bool_param = end
    return message


def _streams() -> Iterator[Grpc]:
    pair = PAIRS["simple"]
    yield stream("one", request("simple", *pair, id="1"))
    for count in (1, 2, 5):
        yield stream(f"repeat {count}", _repeat(*range(10, 10 + count), id="r"))
    yield stream("repeat none", _repeat(id="none"))
    final = _repeat(4, 5, id="final")
    final.parameters["triton_enable_empty_final_response"].bool_param = True
    yield stream("repeat with final", final)
    nothing = _repeat(id="nothing")
    nothing.parameters["triton_enable_empty_final_response"].bool_param = True
    yield stream("repeat none with final", nothing)
    for model, id in (("simple_sequence", 21), ("simple_dyna_sequence", 22), ("simple_string_dyna_sequence", "33")):
        steps = [_step(model, n + 1, id, start=n == 0, end=n == 4) for n in range(5)]
        yield stream(f"sequence {model}", *steps)
        for number, step in enumerate(steps):
            yield infer(f"sequence {model} step {number}", step)


def _bad() -> Iterator[Grpc]:
    first, second = PAIRS["simple"]
    other = Tensor("NOPE", "INT32", (1, 16), first.values)
    floats = Tensor("INPUT0", "FP32", (1, 16), tuple(map(float, first.values)))
    cases: dict[str, tuple[Tensor, ...]] = {
        "unknown input": (other, second),
        "datatype": (floats, second),
        "unknown datatype": (Tensor("INPUT0", "INT32", (1, 16), first.values), second),
        "one missing": (first,),
        "one twice": (first, first),
        "one more": (first, second, other),
        "wrong shape": (ints("INPUT0", 4), second),
        "rank": (Tensor("INPUT0", "INT32", (16,), first.values), second),
        "too many rows": (ints("INPUT0", 16, 0, "INT32", 9), ints("INPUT1", 16, 0, "INT32", 9)),
        "rows differ": (first, ints("INPUT1", 16, 0, "INT32", 2)),
        "nothing": (),
    }
    for title, tensors in cases.items():
        for raw in (True, False):
            message = request("simple", *tensors, raw=raw)
            if title == "unknown datatype":
                message.inputs[0].datatype = "WHAT"
            yield infer(f"{title} {'raw' if raw else 'typed'}", message)
    yield from _bad_contents(first, second)
    for title, shape in (("negative", (1, -16)), ("huge", (2**40, 2**40)), ("zero rows", (0, 16))):
        message = request("simple", first, second)
        del message.inputs[0].shape[:]
        message.inputs[0].shape.extend(shape)
        yield infer(f"{title} shape", message)
    message = request("simple", first, second)
    message.outputs.add(name="NOPE")
    yield infer("unknown output", message)
    message = request("simple", first, second)
    message.outputs.add(name="OUTPUT0").parameters["shared_memory_region"].string_param = "r"
    yield infer("shared memory output", message)
    message = request("simple", first, second)
    message.parameters["triton_mine"].int64_param = 1
    yield infer("reserved parameter", message)
    yield infer("decoupled", _repeat(1))
    for value in range(-3, 1):
        yield infer(f"fault {value}", request("execute_error", ints("INPUT0", 1, value)))
    for model, unknown in (
        ("simple_sequence", 77),
        ("simple_dyna_sequence", 77),
        ("simple_string_dyna_sequence", "zz"),
    ):
        yield infer(f"{model} no id", request(model, ints("INPUT", 1)))
        yield infer(f"{model} not begun", _step(model, 1, unknown))


def _bad_contents(first: Tensor, second: Tensor) -> Iterator[Grpc]:
    both = request("simple", first, second)
    both.inputs[0].contents.int_contents.extend(first.values)
    yield infer("both contents", both)
    fewer = request("simple", first, second)
    del fewer.raw_input_contents[1:]
    yield infer("one raw too few", fewer)
    more = request("simple", first, second)
    more.raw_input_contents.append(b"abcd")
    yield infer("one raw too many", more)
    short = request("simple", first, second)
    short.raw_input_contents[0] = b"abcd"
    yield infer("raw too short", short)
    wrong = request("simple", second, raw=False)
    given = wrong.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16])
    given.contents.fp32_contents.extend([0.0] * 16)
    yield infer("contents of another type", wrong)
    few = request("simple", second, raw=False)
    few.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16]).contents.int_contents.extend([1] * 5)
    yield infer("typed too few", few)
    strings = Tensor("INPUT0", "BYTES", (1, 2), ("ab", "c"))
    cut = request("simple_identity", strings)
    cut.raw_input_contents[0] = strings.raw()[:-1]
    yield infer("strings cut", cut)


def _unknown() -> Iterator[Grpc]:
    for name, version in (("nope", ""), ("nope", "1"), ("simple", "7"), ("simple", "x"), ("", "")):
        yield from _about(name, version)
        title = f"{name!r} {version!r}"
        if name:
            asked = pb.ModelStatisticsRequest(name=name, version=version)
            yield Grpc(f"grpc statistics {title}", "ModelStatistics", (asked,))
        yield infer(f"of {title}", request(name, *PAIRS["simple"], model_version=version))
    yield Grpc("grpc load nope", "RepositoryModelLoad", (pb.RepositoryModelLoadRequest(model_name="nope"),))
    yield Grpc("grpc unload nope", "RepositoryModelUnload", (pb.RepositoryModelUnloadRequest(model_name="nope"),))
    yield Grpc("grpc unload", "RepositoryModelUnload", (pb.RepositoryModelUnloadRequest(model_name="simple_string"),))
    yield Grpc("grpc unloaded ready", "ModelReady", (pb.ModelReadyRequest(name="simple_string"),))
    yield Grpc("grpc load", "RepositoryModelLoad", (pb.RepositoryModelLoadRequest(model_name="simple_string"),))
    yield Grpc("grpc loaded ready", "ModelReady", (pb.ModelReadyRequest(name="simple_string"),))
    register = pb.SystemSharedMemoryRegisterRequest(name="a", key="/a", byte_size=4)
    yield Grpc("grpc shared memory register", "SystemSharedMemoryRegister", (register,))


def _bad_streams() -> Iterator[Grpc]:
    pair = PAIRS["simple"]
    yield stream("unknown model", request("nope", *pair, id="1"))
    yield stream("bad input", request("simple", pair[0], id="1"))
    yield stream("bad between good", request("simple", *pair, id="1"), request("nope", id="2"))
    yield stream("empty")
