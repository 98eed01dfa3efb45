"""The `batchyard.upstream.` parameters of config.pbtxt: where the other server is, and what it can do."""

import difflib
import os
import re
from dataclasses import dataclass, field
from typing import get_args
from urllib.parse import urlsplit

from engines.config.problems import Problems
from engines.config.values import Values
from engines.generation import Feature
from engines.model_config import ModelConfig, TextGeneration

_PREFIX = "batchyard.upstream."
_URL = f"{_PREFIX}url"
_MODEL = f"{_PREFIX}model"
_KEY_ENV = f"{_PREFIX}api_key_env"
_CONNECT_TIMEOUT = f"{_PREFIX}connect_timeout_ms"
_MAX_CONNECTIONS = f"{_PREFIX}max_connections"
_FEATURES = f"{_PREFIX}features"
_KEYS = (_URL, _MODEL, _KEY_ENV, _CONNECT_TIMEOUT, _MAX_CONNECTIONS, _FEATURES)

_ALL_FEATURES: frozenset[Feature] = frozenset(get_args(Feature))
_NO_FEATURES = "none"
_KEY_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
"""Capital letters only: keys as they are issued have small ones, too, so that none passes for a name."""
_CONNECT_TIMEOUT_MS = 2000
_MOST_MS = 600_000
_MOST_CONNECTIONS = 65_536
_NAME_A_KEY = "give the NAME of an environment variable that holds the key, in capital letters; never the key itself"


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """How to reach the other server. `url`: base without a slash at its end. `model`: its name there.

    `key`: "" for none. `connect_timeout`: seconds. `defaults`: what is asked for where the caller names nothing.
    """

    url: str
    model: str
    key: str = field(repr=False)
    key_env: str
    connect_timeout: float
    max_connections: int
    features: frozenset[Feature]
    defaults: "Defaults"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What config.pbtxt says that a caller need not; None leaves it to the other server."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


def read_settings(config: ModelConfig) -> UpstreamSettings:
    """Reads and checks the parameters; raises `ModelLoadError` with all that is wrong."""
    problems = Problems(f"model {config.name!r}")
    values = Values(config.parameters, problems)
    _check_keys(values)
    generation = config.generation or TextGeneration()
    settings = UpstreamSettings(
        url=_url(values),
        model=values.text(_MODEL, "give the model's name on that server") if values.has(_MODEL) else config.name,
        key=_key(values),
        key_env=values.raw(_KEY_ENV),
        connect_timeout=_connect_timeout(values),
        max_connections=_connections(values, generation.max_sequences),
        features=_features(values),
        defaults=_defaults(config, generation),
    )
    problems.raise_any()
    return settings


def _check_keys(values: Values) -> None:
    """An unknown key's value is not shown: it may be a secret."""
    for key in values.keys(_PREFIX):
        if key not in _KEYS:
            nearest = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]
            values.refuse(key, f"there is no such parameter; the nearest is {nearest}")


def _url(values: Values) -> str:
    wanted = "give the base of an OpenAI-compatible API, such as http://127.0.0.1:8001/v1"
    url = values.raw(_URL).rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if "@" in url:
        values.refuse(_URL, f"it holds a user or password; remove them, and name the key's variable in {_KEY_ENV}")
    elif not good or parts.query or parts.fragment or not url.isprintable() or " " in url:
        values.refuse(_URL, f"{values.shown(_URL)}; {wanted}")
    return url


def _key(values: Values) -> str:
    """The key from the environment; neither it nor what was given in place of a name is ever shown."""
    if not values.has(_KEY_ENV):
        return ""
    name = values.raw(_KEY_ENV)
    if not _KEY_NAME.fullmatch(name):
        values.refuse(_KEY_ENV, f"it is no such name; {_NAME_A_KEY}")
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        values.refuse(_KEY_ENV, f"the environment variable {name} is not set, or empty; set it to the server's key")
    elif not key.isascii() or not key.isprintable():
        values.refuse(_KEY_ENV, f"the environment variable {name} holds characters that no HTTP header may have")
    return key


def _connect_timeout(values: Values) -> float:
    if not values.has(_CONNECT_TIMEOUT):
        return _CONNECT_TIMEOUT_MS / 1000
    return values.integer(_CONNECT_TIMEOUT, 1, _MOST_MS, "milliseconds to wait for a connection") / 1000


def _connections(values: Values, default: int) -> int:
    if not values.has(_MAX_CONNECTIONS):
        return default
    return values.integer(_MAX_CONNECTIONS, 1, _MOST_CONNECTIONS, "connections that may be open at once")


def _features(values: Values) -> frozenset[Feature]:
    raw = values.raw(_FEATURES)
    if not values.has(_FEATURES) or raw == _NO_FEATURES:
        return frozenset() if raw else _ALL_FEATURES
    names = [name.strip() for name in raw.split(",")]
    for name in names:
        if name not in _ALL_FEATURES:
            nearest = difflib.get_close_matches(name, sorted(_ALL_FEATURES), n=1, cutoff=0.0)[0]
            remedy = f"the nearest is {nearest}. Give names with commas between, or {_NO_FEATURES!r}"
            values.refuse(_FEATURES, f"{name!r} is no feature; {remedy}")
    return frozenset(feature for feature in _ALL_FEATURES if feature in names)


def _defaults(config: ModelConfig, generation: TextGeneration) -> Defaults:
    """Only what config.pbtxt itself says: the other server has defaults of its own, which may suit the model better."""
    said = config.parameters
    return Defaults(
        max_tokens=generation.max_tokens if "batchyard.generation.max_tokens" in said else None,
        temperature=generation.temperature if "batchyard.generation.temperature" in said else None,
        top_p=generation.top_p if "batchyard.generation.top_p" in said else None,
    )
