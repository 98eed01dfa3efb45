"""What operators do: load and unload models, look at and change trace and log settings."""

from collections.abc import Mapping, Sequence

from tritonclient.grpc.service_pb2 import (
    LogSettingsRequest,
    LogSettingsResponse,
    ModelRepositoryParameter,
    RepositoryModelLoadRequest,
    RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse,
    TraceSettingRequest,
    TraceSettingResponse,
)

from service.api.grpc.calls import Call
from service.api.known import check_traced
from service.api.operations import Operations
from service.errors import InvalidRequestError, UnsupportedError
from service.gateway import Gateway
from service.overrides import Overrides

_FILE = "file:"

Given = Mapping[str, ModelRepositoryParameter]


class Operating:
    """Changes nothing unless the operator has allowed it; see `Operations.control`."""

    def __init__(self, gateway: Gateway, operations: Operations) -> None:
        self._gateway = gateway
        self._operations = operations

    async def load(self, message: RepositoryModelLoadRequest, call: Call) -> RepositoryModelLoadResponse:
        """Opens a model, as its folder is or as the parameters say, in place of what is loaded of it."""
        repository = self._operations.control("load models")
        refuse_repository(message.repository_name)
        await repository.load(message.model_name, _overrides(message.parameters))
        return RepositoryModelLoadResponse()

    async def unload(self, message: RepositoryModelUnloadRequest, call: Call) -> RepositoryModelUnloadResponse:
        """Takes a model out of service; what it has in hand is answered."""
        repository = self._operations.control("unload models")
        refuse_repository(message.repository_name)
        await repository.unload(message.model_name, _dependents(message.parameters))
        return RepositoryModelUnloadResponse()

    async def trace(self, message: TraceSettingRequest, call: Call) -> TraceSettingResponse:
        """Changes what is named, where anything is; tells all."""
        model, tracing = message.model_name, self._operations.tracing
        check_traced(self._gateway, model)
        if message.settings:
            self._operations.control("change trace settings")
            settings = tracing.update(model, {name: tuple(value.value) for name, value in message.settings.items()})
        else:
            settings = tracing.get(model)
        return _told(settings)

    async def log(self, message: LogSettingsRequest, call: Call) -> LogSettingsResponse:
        """Changes what is named, where anything is; tells all."""
        if message.settings:
            self._operations.control("change log settings")
            settings = self._operations.logging.update(_log_changes(message))
        else:
            settings = self._operations.logging.get()
        reply = LogSettingsResponse()
        for name, value in settings.items():
            match value:
                case bool():
                    reply.settings[name].bool_param = value
                case int():
                    reply.settings[name].uint32_param = value
                case str():
                    reply.settings[name].string_param = value
        return reply


def _told(settings: Mapping[str, Sequence[str]]) -> TraceSettingResponse:
    reply = TraceSettingResponse()
    for name, words in settings.items():
        reply.settings[name].value.extend(words)
    return reply


def _log_changes(message: LogSettingsRequest) -> Mapping[str, bool | int | str]:
    changes: dict[str, bool | int | str] = {}
    for name, setting in message.settings.items():
        kind = setting.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidRequestError(
                f"log setting {name!r} has no value; set bool_param, uint32_param or string_param", name
            )
        changes[name] = getattr(setting, kind)
    return changes


def refuse_repository(name: str) -> None:
    """Raises `UnsupportedError` where a repository is named."""
    if name:
        raise UnsupportedError(
            "a repository cannot be named; leave repository_name empty", "repository_name"
        ).as_triton("'repository_name' specification is not supported")


def _overrides(parameters: Given) -> Overrides:
    config: str | None = None
    files: dict[str, bytes] = {}
    for name, parameter in parameters.items():
        if name == "config":
            _check_kind("load", name, parameter, "string_param")
            config = parameter.string_param
        elif name.startswith(_FILE):
            _check_kind("load", name, parameter, "bytes_param")
            files[name.removeprefix(_FILE)] = parameter.bytes_param
        else:
            raise InvalidRequestError(f"unknown load parameter {name!r}; leave it out", name).as_triton(
                f"unrecognized load parameter '{name}'."
            )
    return Overrides(config, files)


def _dependents(parameters: Given) -> bool:
    for name, parameter in parameters.items():
        if name != "unload_dependents":
            raise InvalidRequestError(f"unknown unload parameter {name!r}; leave it out", name).as_triton(
                f"unrecognized unload parameter '{name}'."
            )
        _check_kind("unload", name, parameter, "bool_param")
    return "unload_dependents" in parameters and parameters["unload_dependents"].bool_param


def _check_kind(deed: str, name: str, parameter: ModelRepositoryParameter, wanted: str) -> None:
    found = parameter.WhichOneof("parameter_choice")
    if found != wanted:
        raise InvalidRequestError(f"{deed} parameter {name!r} is sent in {found}; send it in {wanted}", name).as_triton(
            f"invalid value type for {deed} parameter '{name}', expected {wanted}."
        )
