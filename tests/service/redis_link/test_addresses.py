"""The addresses a Redis may have: TLS, a unix socket, a user, a database."""

import logging
import socket
from pathlib import Path

import pytest
import trustme

from tests.redis_server import RedisServer, redis_process
from tests.service.redis_link.linked import linked, stored


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def test_tls_is_used_and_the_certificate_is_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority, port = trustme.CA(), _free_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = authority.issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    files = {"tls-cert-file": "server.pem", "tls-key-file": "server.pem", "tls-ca-cert-file": "ca.pem"}
    options = {name: str(tmp_path / file) for name, file in files.items()}
    with redis_process(**options, **{"tls-port": str(port), "tls-auth-clients": "no"}):
        async with linked(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}") as link:
            await stored(link, b"key", b"value")
        async with linked(f"rediss://localhost:{port}/0") as link:
            assert not link.counts.up
            assert "certificate verify failed" in caplog.text.lower()
        async with linked(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}") as link:
            assert not link.counts.up


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with redis_process(unixsocket=str(path)):
        async with linked(f"unix://{path}?db=1") as link:
            await stored(link, b"key", b"value")


async def test_a_user_with_a_password_and_a_database(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with redis_server.client() as client:
        rights = ["+get", "+set", "+evalsha", "+eval", "+select", "+client"]
        client.execute_command("ACL", "SETUSER", "gateway", "on", ">ge@heim", "~batchyard:*", *rights)
        async with linked(f"redis://gateway:ge%40heim@127.0.0.1:{redis_server.port}/3") as link:
            await stored(link, b"key", b"value")
            client.execute_command("SELECT", 3)
            assert client.get("batchyard:key") == b"value"
        async with linked(f"redis://gateway:wrong@127.0.0.1:{redis_server.port}/3", password="ge@heim") as link:
            assert link.counts.up
        async with linked(f"redis://gateway:wrong@127.0.0.1:{redis_server.port}/3") as link:
            assert not link.counts.up
        async with linked(f"redis://gateway:ge%40heim@127.0.0.1:{redis_server.port}/3", prefix="others") as link:
            assert not link.counts.up
            assert "permission" in caplog.text.lower()
    assert "heim" not in caplog.text
