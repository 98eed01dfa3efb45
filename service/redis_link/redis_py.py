"""Connections by redis-py, with hiredis to read: it knows addresses, TLS, passwords and the protocol."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from service.cache_settings import RedisSettings
from service.redis_link.line import LineError, RedisSettingsError, Refusal

CONNECT = 1.0
"""Seconds for an address, a connection, TLS and a password."""
_GIVES_UP = 10_000
"""Milliseconds after which the system closes a connection whose other end takes nothing."""
_RESP = 2
"""Version of the protocol: in this one nothing comes that was not asked for."""


class Dialler:
    """Opens connections to the Redis of the settings; raises `RedisSettingsError` where it never could."""

    def __init__(self, settings: RedisSettings) -> None:
        self._kind, self._options = _read(settings)
        self.name = str(self._options.get("path") or f"{self._options['host']}:{self._options['port']}")
        """For people; holds no secret."""
        self._make()

    def _make(self) -> AbstractConnection:
        try:
            return self._kind(**self._options)
        except (TypeError, ValueError, RedisError) as error:
            raise RedisSettingsError(_misread("has options that redis-py does not know")) from error

    async def __call__(self) -> "RedisPyLine":
        """A new connection, logged in; raises `LineError`."""
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise LineError(f"it did not let us in within {CONNECT:g} s") from error
            if isinstance(error, RedisError | OSError | UnicodeError):
                raise LineError(_told(error)) from error
            raise
        return RedisPyLine(connection, connection._writer.transport)  # type: ignore[union-attr]


class RedisPyLine:
    """A `Line`. `connection`: open, over `transport`. No task but the one that reads reads from it, none but the one
    that sends sends."""

    def __init__(self, connection: AbstractConnection, transport: asyncio.WriteTransport) -> None:
        self._connection = connection
        self._transport = transport

    async def send(self, commands: Iterable[tuple[bytes, ...]]) -> None:
        packed = self._connection.pack_commands(commands)
        try:
            await self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:
            raise LineError(_told(error)) from error

    async def read(self) -> object:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            told = _told(error)
            full = isinstance(error, OutOfMemoryError | ReadOnlyError) or told.startswith(("MISCONF", "NOREPLICAS"))
            return Refusal(told, isinstance(error, NoScriptError), full)
        except (RedisError, OSError) as error:
            raise LineError(_told(error)) from error

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)
        self._transport.abort()  # a hung one takes nothing of what is written yet, and would keep the file open


def _read(settings: RedisSettings) -> tuple[type[AbstractConnection], dict[str, Any]]:
    try:
        options: dict[str, Any] = dict(parse_url(settings.url))
    except ValueError as error:
        raise RedisSettingsError(_misread("cannot be read")) from error
    kind = options.pop("connection_class", Connection)
    if "path" not in options:
        options = {"host": "localhost", "port": 6379, **options, **_keep_alive()}
    if settings.password.get_secret_value():
        options["password"] = settings.password.get_secret_value()
    # Without a socket_timeout no command passes asyncio.wait_for, which in Python 3.11 may swallow a cancellation.
    options |= {"protocol": _RESP, "socket_timeout": None, "socket_connect_timeout": CONNECT}
    return kind, options


def _keep_alive() -> dict[str, Any]:
    gives_up = getattr(socket, "TCP_USER_TIMEOUT", None)
    return {"socket_keepalive": True, "socket_keepalive_options": {gives_up: _GIVES_UP} if gives_up else {}}


def _misread(what: str) -> str:
    return (
        f"redis.url {what}; wanted redis://host:port/database, rediss://host:port/database (TLS) or "
        "unix:///path?db=database; what stands in a user name or password other than letters and digits is written %XX"
    )


def _told(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
