"""The `batchyard.triton.` parameters of config.pbtxt: where the other servers are, and how to ask them."""

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from engines.config.problems import Problems
from engines.config.values import Values
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.model_files import file_inside
from engines.own_parameters import own_parameters
from engines.remote_model import Address

PREFIX = "batchyard.triton."
_URLS = f"{PREFIX}urls"
_DNS = f"{PREFIX}dns"
_REFRESH = f"{PREFIX}refresh_seconds"
_MODEL = f"{PREFIX}model"
_VERSION = f"{PREFIX}version"
_CONNECTIONS = f"{PREFIX}connections"
_MAX_QUEUE = f"{PREFIX}max_queue"
_CA_FILE = f"{PREFIX}ca_file"
_HEADERS_ENV = f"{PREFIX}headers_env"
_BATCH_TIMEOUT = f"{PREFIX}batch_timeout_ms"
_KEYS = (_URLS, _DNS, _REFRESH, _MODEL, _VERSION, _CONNECTIONS, _MAX_QUEUE, _CA_FILE, _HEADERS_ENV, _BATCH_TIMEOUT)

_SCHEMES = {"grpc": ("grpc", False), "grpcs": ("grpc", True), "http": ("http", False), "https": ("http", True)}
_WANTED = "give addresses such as grpc://host:8001 or http://host:8000, with commas between"
_WANTED_NAME = "give one name, such as grpc://triton.models.svc:8001"
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_HEADER = re.compile(r"\s*(?![^:]*-bin\s*:)[A-Za-z0-9][A-Za-z0-9_.-]*\s*:[\t -~]*[!-~][\t -~]*", re.IGNORECASE)
"""One that gRPC and HTTP can both send."""
_MOST = 2**20
_MOST_SECONDS = 86_400
_MOST_MS = 3_600_000
_MAX_QUEUE_DEFAULT = 512
_BATCH_TIMEOUT_MS = 30_000
_CONNECTIONS_DEFAULT = {"grpc": 1, "http": 64}


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """How to ask. `addresses` or `name`: see `RemoteServers`. `model`: its name there; `version` "": the newest there.

    `connections`: to each server; of HTTP, the most. `certificates`: PEM of whom to trust, b"": those of the system.
    `headers`: sent with all that is asked; secret.
    """

    addresses: tuple[Address, ...]
    name: Address | None
    refresh: float
    model: str
    version: str
    connections: int
    max_queue: int
    certificates: bytes
    batch_timeout: float
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def protocol(self) -> str:
        """That of all its servers: "grpc" or "http"."""
        return (self.name or self.addresses[0]).protocol


def read_settings(config: ModelConfig, folder: Path) -> TritonSettings:
    """Reads and checks the parameters; raises `ModelLoadError` with all that is wrong. `folder`: of the model."""
    own_parameters(config, PREFIX, [key.removeprefix(PREFIX) for key in _KEYS])
    problems = Problems(f"model {config.name!r}")
    values = Values(config.parameters, problems)
    addresses, name = _addresses(values), _name(values)
    if not values.has(_URLS) and not values.has(_DNS):
        values.refuse(_URLS, f"{values.shown(_URLS)}; {_WANTED}, or {_DNS}")
    elif values.has(_DNS) and values.has(_URLS):
        values.refuse(_DNS, f"it contradicts {_URLS}; remove one of them")
    protocol = next((one.protocol for one in (*addresses, *filter(None, [name]))), "grpc")
    settings = TritonSettings(
        addresses=addresses,
        name=name,
        refresh=_whole(values, _REFRESH, 5, _MOST_SECONDS, "seconds between two look-ups of the name"),
        model=values.text(_MODEL, "give the model's name there") if values.has(_MODEL) else config.name,
        version=_version(values),
        connections=_whole(values, _CONNECTIONS, _CONNECTIONS_DEFAULT[protocol], _MOST, "connections to each server"),
        max_queue=_whole(values, _MAX_QUEUE, _MAX_QUEUE_DEFAULT, _MOST, "requests that one server is given at once"),
        certificates=_certificates(values, folder),
        batch_timeout=_whole(values, _BATCH_TIMEOUT, _BATCH_TIMEOUT_MS, _MOST_MS, "milliseconds for a batch") / 1000,
        headers=_headers(values),
    )
    problems.raise_any()
    return settings


def _addresses(values: Values) -> tuple[Address, ...]:
    if not values.has(_URLS):
        return ()
    read = [_address(values, _URLS, url.strip(), _WANTED) for url in values.raw(_URLS).split(",")]
    found = tuple(address for address in read if address is not None)
    if len({address.protocol for address in found}) > 1:
        values.refuse(_URLS, f"{values.shown(_URLS)} mixes gRPC and HTTP; use one of them, or two models and a route")
    if len(set(found)) < len(found):
        values.refuse(_URLS, f"{values.shown(_URLS)} names a server twice; remove one of them")
    return found


def _name(values: Values) -> Address | None:
    return _address(values, _DNS, values.raw(_DNS).strip(), _WANTED_NAME) if values.has(_DNS) else None


def _address(values: Values, key: str, url: str, wanted: str) -> Address | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if "@" in parts.netloc:
        values.refuse(key, f"it holds a user or password; remove them, {wanted}")
    elif not _is_good(parts, url) or not port:
        values.refuse(key, f"{url!r} given; {wanted}")
    else:
        protocol, secure = _SCHEMES[parts.scheme]
        return Address(protocol, secure, parts.hostname or "", port, parts.path.rstrip("/"))
    return None


def _is_good(parts: SplitResult, url: str) -> bool:
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
        return False
    bare = not parts.path.strip("/") or parts.scheme.startswith("http")
    return bare and url.isprintable() and " " not in url


def _version(values: Values) -> str:
    if not values.has(_VERSION):
        return ""
    return str(values.integer(_VERSION, 1, 2**53, "the version there, or remove it for the newest"))


def _whole(values: Values, key: str, default: int, most: int, meaning: str) -> int:
    return values.integer(key, 1, most, meaning) if values.has(key) else default


def _certificates(values: Values, folder: Path) -> bytes:
    if not values.has(_CA_FILE):
        return b""
    try:
        found = file_inside(folder, values.raw(_CA_FILE)).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found.decode("ascii", "replace"))
        return found
    except (ssl.SSLError, ValueError) as error:
        values.refuse(_CA_FILE, f"{values.shown(_CA_FILE)}; give a PEM file with certificates: {error}")
    except (ModelLoadError, OSError) as error:
        values.refuse(_CA_FILE, str(error))
    return b""


def _headers(values: Values) -> tuple[tuple[str, str], ...]:
    """Those that an environment variable holds; nothing of it is ever shown, nor what was given for its name."""
    if not values.has(_HEADERS_ENV):
        return ()
    name = values.raw(_HEADERS_ENV)
    if not _VARIABLE.fullmatch(name):
        values.refuse(_HEADERS_ENV, "it is no such name; give the NAME of an environment variable, in capital letters")
        return ()
    lines = [line for line in os.environ.get(name, "").splitlines() if line.strip()]
    if not lines or not all(_HEADER.fullmatch(line) for line in lines):
        values.refuse(_HEADERS_ENV, f"the environment variable {name} holds no lines such as 'name: value'; set it")
        return ()
    pairs = [line.partition(":") for line in lines]
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)
