"""Everything but inference: health, metadata, statistics, the repository, settings, shared memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.api.manner import triton_manner
from service.api.operations import Operations
from service.errors import LoadFailedError
from service.overrides import NO_OVERRIDES, Overrides
from service.stopping import Stopping
from tests.service.api.grpc.gateways import COUNTED, GrpcGateway
from tests.service.api.grpc.serving import GrpcAddress, serve_grpc
from tests.service.api.grpc.test_bad_requests import request_of

Stub = service_pb2_grpc.GRPCInferenceServiceStub
EMPTY = b""


@dataclass
class Notebook:
    """A repository that writes down what it is told."""

    told: list[tuple[object, ...]] = field(default_factory=list)

    async def load(self, name: str, overrides: Overrides = NO_OVERRIDES) -> None:
        if name == "broken":
            raise LoadFailedError("its folder is empty")
        self.told.append(("load", name, overrides.config, dict(overrides.files)))

    async def unload(self, name: str, dependents: bool = False) -> None:
        self.told.append(("unload", name, dependents))


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def stopping() -> Stopping:
    return Stopping()


@pytest.fixture
def controlled(gateway: GrpcGateway, notebook: Notebook, stopping: Stopping) -> Iterator[triton.InferenceServerClient]:
    """A server of the test's own that lets callers change things."""
    operations = Operations(stopping, notebook)
    with serve_grpc(gateway, operations) as address, triton.InferenceServerClient(address.url) as client:
        yield client


def refused(call: object, *arguments: object, **named: object) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    return caught.value.status().removeprefix("StatusCode."), caught.value.message()


def health(channel: grpc.Channel, service: bytes = EMPTY) -> bytes:
    return channel.unary_unary("/grpc.health.v1.Health/Check")(service)  # type: ignore[no-any-return]


def test_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("identity")
    assert client.is_model_ready("identity", "1")
    assert not client.is_model_ready("bad")
    assert not client.is_model_ready("unknown")
    assert refused(client.is_model_ready, "identity", "x")[0] == "INVALID_ARGUMENT"


def test_not_ready_once_it_is_told_to_stop(controlled: triton.InferenceServerClient, stopping: Stopping) -> None:
    stopping.begun = True
    assert controlled.is_server_live()
    assert not controlled.is_server_ready()
    assert not controlled.is_model_ready("identity")


def test_grpc_health(gateway: GrpcGateway) -> None:
    """The messages, byte by byte: field 1 is the name of the service, or the number of the status."""
    stopping = Stopping()
    name = b"inference.GRPCInferenceService"
    with serve_grpc(gateway, Operations(stopping)) as address, grpc.insecure_channel(address.url) as channel:
        assert health(channel) == b"\x08\x01"
        assert health(channel, b"\x0a%c%s" % (len(name), name)) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as caught:
            health(channel, b"\x0a\x05other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
        watched, unknown = watch(EMPTY), watch(b"\x0a\x05other")
        assert (next(watched), next(unknown)) == (b"\x08\x01", b"\x08\x03")
        stopping.begun = True
        assert next(watched) == b"\x08\x02"
        assert health(channel) == b"\x08\x02"


def test_metadata(client: triton.InferenceServerClient) -> None:
    server = client.get_server_metadata()
    assert server.name == "batchyard"
    assert set(server.extensions) >= {"classification", "sequence", "statistics"}
    assert "model_repository" not in server.extensions
    metadata = client.get_model_metadata("identity", "1", as_json=True)
    assert metadata == {
        "name": "identity",
        "versions": ["1", "2"],
        "platform": "test",
        "inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": ["-1", "-1"]}],
        "outputs": [{"name": "OUTPUT0", "datatype": "FP32", "shape": ["-1", "-1"]}],
    }


def test_config(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("identity").config
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("identity", 8, [-1])
    assert client.get_model_config("repeat").config.model_transaction_policy.decoupled
    assert refused(client.get_model_config, "minilm")[0] == "NOT_FOUND"
    assert refused(client.get_model_config, "bad")[0] == "UNAVAILABLE"


def test_the_manner_of_triton(gateway: GrpcGateway) -> None:
    with serve_grpc(gateway, manner=triton_manner()) as address:
        with triton.InferenceServerClient(address.url) as client:
            assert client.get_server_metadata().name == "triton"
        with grpc.insecure_channel(address.url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(request_of())
    words = "unable to find data for input tensor 'INPUT0' for model 'identity' in request."
    assert caught.value.details() == words


def test_statistics(client: triton.InferenceServerClient) -> None:
    for name, version in (("", ""), ("identity", "2")):
        (found,) = client.get_inference_statistics(name, version).model_stats
        assert (found.name, found.version, found.last_inference) == ("identity", "2", COUNTED.last_inference)
        assert (found.inference_count, found.execution_count) == (7, 3)
        stats = found.inference_stats
        durations = [getattr(stats, part.name) for part in stats.DESCRIPTOR.fields]
        assert [d.count for d in durations] == [5, 1, 5, 5, 5, 5, 2, 3]
        assert [d.ns for d in durations] == [500, 10, 50, 51, 52, 53, 20, 30]
        (batch,) = found.batch_stats
        assert (batch.batch_size, batch.compute_input.ns, batch.compute_output.ns) == (4, 11, 13)
        assert found.response_stats["0"].empty_response.ns == 4
    assert refused(client.get_inference_statistics, "unknown")[0] == "NOT_FOUND"


def test_repository_index(client: triton.InferenceServerClient, stub: Stub) -> None:
    index = {(m.name, m.version, m.state, m.reason) for m in client.get_model_repository_index().models}
    assert ("identity", "2", "READY", "") in index
    assert ("bad", "", "UNAVAILABLE", "config.pbtxt:3: no such field") in index
    assert "minilm" not in {entry[0] for entry in index}, "a route is no model of the repository"
    ready = stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True)).models
    assert {model.name for model in ready} == {entry[0] for entry in index} - {"bad"}


def test_nothing_is_changed_unless_it_is_allowed(client: triton.InferenceServerClient) -> None:
    for status, message in (
        refused(client.load_model, "identity"),
        refused(client.unload_model, "identity"),
        refused(client.update_trace_settings, settings={"trace_rate": "5"}),
        refused(client.update_log_settings, {"log_info": True}),
    ):
        assert status == "PERMISSION_DENIED"
        assert "--allow-control" in message


def test_loading(controlled: triton.InferenceServerClient, notebook: Notebook) -> None:
    controlled.load_model("a")
    controlled.load_model("b", config="{}", files={"file:1/model.py": b"\0code"})
    controlled.unload_model("a")
    controlled.unload_model("b", unload_dependents=True)
    assert notebook.told == [
        ("load", "a", None, {}),
        ("load", "b", "{}", {"1/model.py": b"\0code"}),
        ("unload", "a", False),
        ("unload", "b", True),
    ]
    assert refused(controlled.load_model, "broken") == ("INTERNAL", "its folder is empty")


def test_loading_with_wrong_parameters(gateway: GrpcGateway, notebook: Notebook) -> None:
    load, unload = service_pb2.RepositoryModelLoadRequest, service_pb2.RepositoryModelUnloadRequest
    value = service_pb2.ModelRepositoryParameter
    with serve_grpc(gateway, Operations(repository=notebook)) as address, grpc.insecure_channel(address.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for call, request, words in (
            (stub.RepositoryModelLoad, load(parameters={"other": value()}), "unknown load parameter 'other'"),
            (stub.RepositoryModelLoad, load(parameters={"config": value(int64_param=1)}), "send it in string_param"),
            (stub.RepositoryModelLoad, load(parameters={"file:x": value(string_param="")}), "send it in bytes_param"),
            (stub.RepositoryModelLoad, load(repository_name="x"), "leave repository_name empty"),
            (stub.RepositoryModelUnload, unload(parameters={"other": value()}), "unknown unload parameter 'other'"),
            (
                stub.RepositoryModelUnload,
                unload(parameters={"unload_dependents": value(string_param="")}),
                "send it in bool_param",
            ),
        ):
            with pytest.raises(grpc.RpcError, match=words):
                call(request)
    assert notebook.told == []


def test_trace_settings(controlled: triton.InferenceServerClient) -> None:
    before = controlled.get_trace_settings(as_json=True)["settings"]
    assert before["trace_level"] == {"value": ["OFF"]}
    settings = controlled.update_trace_settings(settings={"trace_rate": "5", "trace_count": None}).settings
    assert list(settings["trace_rate"].value) == ["5"]
    one = controlled.update_trace_settings("identity", {"trace_rate": "7"}).settings
    assert list(one["trace_rate"].value) == ["7"]
    assert list(controlled.get_trace_settings().settings["trace_rate"].value) == ["5"]
    cleared = controlled.update_trace_settings("identity", {"trace_rate": None}).settings
    assert list(cleared["trace_rate"].value) == ["5"]
    assert refused(controlled.update_trace_settings, settings={"trace_rate": "many"})[0] == "INVALID_ARGUMENT"
    assert refused(controlled.get_trace_settings, "unknown")[0] == "NOT_FOUND"


def test_log_settings(client: triton.InferenceServerClient, controlled: triton.InferenceServerClient) -> None:
    before = client.get_log_settings().settings
    assert before["log_info"].WhichOneof("parameter_choice") == "bool_param"
    assert before["log_verbose_level"].WhichOneof("parameter_choice") == "uint32_param"
    assert before["log_format"].string_param == "default"
    assert refused(controlled.update_log_settings, {"log_format": "rhymes"})[0] == "INVALID_ARGUMENT"
    assert refused(controlled.update_log_settings, {"log_file": "x"})[0] == "UNIMPLEMENTED"


def test_shared_memory_is_refused_by_design(client: triton.InferenceServerClient) -> None:
    assert not client.get_system_shared_memory_status().regions
    assert not client.get_cuda_shared_memory_status().regions
    assert refused(client.get_system_shared_memory_status, "x")[0] == "NOT_FOUND"
    status, message = refused(client.register_system_shared_memory, "x", "/x", 4)
    assert status == "UNIMPLEMENTED"
    assert "by design" in message
    assert refused(client.register_cuda_shared_memory, "x", b"aGFuZGxl", 0, 4)[0] == "UNIMPLEMENTED"
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory("x")


def test_every_method_is_served(served: GrpcAddress) -> None:
    """None is left to gRPC's own answer for methods that it does not know."""
    found = []
    with grpc.insecure_channel(served.url) as channel:
        for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
            if not method.client_streaming:
                call = channel.unary_unary(f"/inference.GRPCInferenceService/{method.name}").with_call
                found.append(call_details(call))
    assert len(found) == 19
    assert "Method not found!" not in found


def call_details(call: Callable[[bytes], object]) -> str:
    """What is said of a call without content, "" where it is answered."""
    try:
        call(EMPTY)
    except grpc.RpcError as error:
        return str(error.details())
    return ""
