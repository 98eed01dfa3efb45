"""The gateway's settings: defaults, gateway.toml, environment, command line; the later wins."""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict

from service.cache_settings import DEFAULT_CACHE, DEFAULT_REDIS, CacheSettings, RedisSettings
from service.limit_settings import DEFAULT_LIMITS, LimitSettings
from service.route_settings import RouteSettings, keys_at
from service.semantic_settings import SemanticSettings
from service.tenant_settings import TenantSettings, WindowSettings, refuse_shared_keys

ENV_PREFIX = "BATCHYARD_"
CONFIG_VARIABLE = "BATCHYARD_CONFIG"
DEFAULT_CONFIG = Path("gateway.toml")


class InvalidSettingsError(Exception):
    """Settings that cannot be used; `str` is one line a fault: where it stands, what was found, what was wanted."""


def _split(value: object) -> object:
    """Lists may be written a,b in the environment and on the command line."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _parse_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"wanted JSON ({error})") from error


Strings = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Paths = Annotated[list[Path], NoDecode, BeforeValidator(_split)]


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"wanted a regular expression ({error})") from error
    return pattern


def _check_folder(file: str) -> str:
    """Traces are written long after the start: that there is no such folder is better said now."""
    if file and not Path(file).parent.is_dir():
        raise ValueError("wanted a file in a folder that exists")
    return file


Pattern = Annotated[str, AfterValidator(_check_pattern)]
TraceFile = Annotated[str, AfterValidator(_check_folder)]


class PipelineSettings(BaseModel):
    """One name callers chat with: `classifier` says what the last message is about, `model` writes the answer.

    `model`, `classifier`: models or routes. `system`: the prompt before every conversation. `policies`: a TOML file
    of `[[policy]]`, each with a name, its intents, and a text that joins the prompt; relative to the working folder.
    `least_confidence`: of the classifier, below which no policy is added. `excerpt_bytes`: a longer message is
    classified by its beginning and its end, each so long; 250 fit every window of 256 tokens. `cache`: remember what it
    wrote, where that does not depend on chance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    classifier: str = Field(min_length=1)
    system: str = Field(min_length=1)
    policies: Path
    least_confidence: float = Field(0.4, ge=0, le=1)
    excerpt_bytes: int = Field(250, ge=4)
    cache: bool = False


def _refuse_nesting(pipelines: dict[str, PipelineSettings]) -> dict[str, PipelineSettings]:
    """A pipeline that asks a pipeline could ask itself."""
    for name, pipeline in pipelines.items():
        for asked in (pipeline.model, pipeline.classifier):
            if asked in pipelines:
                raise ValueError(f"pipeline {name!r} asks {asked!r}, a pipeline; wanted a model or route")
    return pipelines


Routes = Annotated[dict[str, RouteSettings], NoDecode, BeforeValidator(_parse_json)]
Pipelines = Annotated[
    dict[str, PipelineSettings], NoDecode, BeforeValidator(_parse_json), AfterValidator(_refuse_nesting)
]
Cache = Annotated[CacheSettings, NoDecode, BeforeValidator(_parse_json)]
Redis = Annotated[RedisSettings, NoDecode, BeforeValidator(_parse_json)]
Semantic = Annotated[dict[str, SemanticSettings], NoDecode, BeforeValidator(_parse_json)]
Limits = Annotated[LimitSettings, NoDecode, BeforeValidator(_parse_json)]
Tenants = Annotated[
    dict[str, TenantSettings], NoDecode, BeforeValidator(_parse_json), AfterValidator(refuse_shared_keys)
]


class Settings(BaseSettings):
    """All settings. Built directly it reads the environment but no file; `load_settings` reads everything."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    model_repository: Paths = Field([Path("model_repository")], min_length=1, description="Model repository folders.")
    models: Strings = Field([], description="Names of the models to load; empty loads all.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    open_to_network: Literal["", "without keys"] = Field(
        "", description='"without keys": listen to the network although anybody may ask.'
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port of HTTP; 0 picks a free one.")
    grpc: bool = Field(True, description="Serve gRPC as well?")
    grpc_port: int = Field(8001, ge=0, le=65535, description="TCP port of gRPC; 0 picks a free one.")
    max_grpc_streams: int = Field(1024, gt=0, description="gRPC calls that one connection may have open at once.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; HTTP and gRPC speak TLS then.")
    tls_key: Path | None = Field(None, description="PEM key of the certificate, without a password.")
    tls_client_ca: Path | None = Field(None, description="PEM certificates of who signs those that callers must show.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log line shown.")
    max_body_bytes: int = Field(64 * 2**20, gt=0, description="Largest request body, as sent and inflated.")
    max_json_bytes: int = Field(8 * 2**20, gt=0, description="JSON in it; large tensors are sent as binary data.")
    default_timeout_ms: int = Field(30_000, gt=0, description="Deadline of a request that names none.")
    generation_timeout_ms: int = Field(600_000, gt=0, description="Deadline of generated text, where none is named.")
    max_queue_size: int = Field(2048, gt=0, description="Waiting texts or tensors a model holds before it answers 429.")
    stream_buffer: int = Field(1024, gt=0, description="Events that wait for a slow reader before it is cut off.")
    cores: int = Field(0, ge=0, description="CPU cores to use; 0 takes what the machine or its cgroup grants.")
    drain_seconds: int = Field(2, ge=0, description="Time from SIGTERM, not ready, until no connections are taken.")
    shutdown_grace_seconds: int = Field(10, ge=0, description="Time that running requests get after that.")
    compat: Literal["none", "triton"] = Field("none", description="Speak as Triton does: server name, error texts.")
    allow_control: bool = Field(False, description="May callers load and unload models, and change settings?")
    trace_file: TraceFile = Field("", description="File for traces of requests; empty: none can be switched on.")
    header_forward_pattern: Pattern = Field(
        "", description="Request headers whose names match this regular expression become parameters of the model."
    )
    routes: Routes = Field({}, description="Routes as JSON: name, variants, policy, rules and more; see gateway.toml.")
    pipelines: Pipelines = Field({}, description="Pipelines as JSON: name, model, classifier, system, policies.")
    cache: Cache = Field(DEFAULT_CACHE, description="The cache of answers as JSON: memory_mb, ttl_seconds.")
    semantic: Semantic = Field({}, description="Semantic caches of chats, as JSON: name, encoder, classifier.")
    redis: Redis = Field(DEFAULT_REDIS, description="A Redis shared by gateways as JSON: url, required, and more.")
    limits: Limits = Field(DEFAULT_LIMITS, description="Limits of connections as JSON; see gateway.toml.")
    tenants: Tenants = Field({}, description="Who may call, as JSON: name, keys, scopes, limits; see gateway.toml.")


def flag_of(field: str) -> str:
    """The command-line flag of a setting: --max-body-bytes for max_body_bytes."""
    return "--" + field.replace("_", "-")


def load_settings(flags: Mapping[str, object], config: Path | None = None) -> Settings:
    """Settings from `flags` (field -> value), the environment and a TOML file; raises `InvalidSettingsError`.

    `config` None: the file that BATCHYARD_CONFIG names, else ./gateway.toml where it exists.
    """
    _refuse_unknown_variables(os.environ)
    path = _config_path(config)
    file = _read(path) if path else {}
    environment = EnvSettingsSource(Settings)()
    try:
        return Settings(**{**file, **environment, **flags})
    except ValidationError as error:
        origins = _Origins(flags, environment, str(path))
        raise InvalidSettingsError("\n".join(origins.describe(fault) for fault in error.errors())) from error


def nearest(word: str, known: list[str]) -> str:
    """The known word most like `word`, as the end of a message; all of them where none is like it."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields] + [CONFIG_VARIABLE]
    unknown = [name for name in environment if name.startswith(ENV_PREFIX) and name not in known]
    if unknown:
        raise InvalidSettingsError("\n".join(f"{name}: unknown variable; {nearest(name, known)}" for name in unknown))


def _config_path(config: Path | None) -> Path | None:
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is None:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None
    if not named.is_file():
        origin = "--config" if config else CONFIG_VARIABLE
        raise InvalidSettingsError(f"{origin}: found no file {str(named)!r}; wanted a TOML file such as gateway.toml")
    return named


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSettingsError(f"{path}: cannot be read as TOML: {error}") from error


def word_fault(where: str, fault: ErrorDetails, known: Sequence[str]) -> str:
    """A fault as one line. `known`: the keys that could stand there."""
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(str(fault['loc'][-1]), list(known))}"
    if fault["type"] == "missing":
        return f"{where}: is missing; add it"
    wanted = fault["msg"].replace("Input should be", "wanted").removeprefix("Value error, ")
    return f"{where}: found {_shorten(fault['input'])}; {wanted}"


def _known(field: str, inner: Sequence[str]) -> list[str]:
    """The keys that could stand at a place: below a setting that is a table of named things, or at the top."""
    if not inner:
        return list(Settings.model_fields)
    if field == "routes":
        return list(keys_at(inner[1:]))
    if field == "tenants":
        return list((WindowSettings if len(inner) > 2 else TenantSettings).model_fields)
    if field == "semantic":
        return list(SemanticSettings.model_fields)
    tables: Mapping[str, type[BaseModel]] = {"cache": CacheSettings, "redis": RedisSettings, "limits": LimitSettings}
    return list(tables.get(field, PipelineSettings).model_fields)


def _holds_secret(field: str, inner: Sequence[str]) -> bool:
    """May what stands there hold a key or a password? Somebody writes the key where its digest is wanted."""
    if field == "tenants":
        return len(inner) < 2 or inner[1] == "keys"
    return field == "redis" and inner[:1] in ([], ["url"], ["password"])


class _Secret:
    """In place of a value that nobody is shown."""

    def __repr__(self) -> str:
        return "what is not shown, for it may hold a secret"


class _Origins:
    """Knows which source a value came from, to word its faults."""

    def __init__(self, flags: Mapping[str, object], environment: Mapping[str, object], file: str) -> None:
        self._flags = flags
        self._environment = environment
        self._file = file

    def describe(self, fault: ErrorDetails) -> str:
        field, *inner = map(str, fault["loc"])
        where = ".".join([self._origin(field), *inner])
        if _holds_secret(field, inner):
            fault["input"] = _Secret()
        return word_fault(where, fault, _known(field, inner))

    def _origin(self, field: str) -> str:
        if field in self._flags:
            return flag_of(field)
        if field in self._environment:
            return ENV_PREFIX + field.upper()
        return f"{self._file}: {field}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."
