"""Servers behind TLS, found by a name: the certificate is checked for the name, not for the address."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.processes import Server
from tests.service.remote.gateways import floats, gateway_over, remote_model

PROTOCOLS = pytest.mark.parametrize("protocol", ["grpc", "http"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key and the certificate of `localhost`, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return folder


@asynccontextmanager
async def behind_tls(folder: Path, port: int) -> AsyncIterator[int]:
    """The port of a proxy that ends TLS in front of another port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def plain_port(server: Server, protocol: str) -> int:
    return int(server.grpc.rpartition(":")[2]) if protocol == "grpc" else server.port


@PROTOCOLS
async def test_a_name_is_looked_up_and_its_certificate_checked(
    tmp_path: Path, certificate: Path, batchyard: Server, protocol: str
) -> None:
    async with behind_tls(certificate, plain_port(batchyard, protocol)) as port:
        remote_model(tmp_path, "quick", dns=f"{protocol}s://localhost:{port}", ca_file="ca.pem")
        shutil.copy(certificate / "ca.pem", tmp_path / "quick")
        async with gateway_over(tmp_path) as (gateway, _):
            answer = await gateway.infer(floats("quick", 3))
            assert answer.outputs["OUTPUT0"].tolist() == [[3]]


@PROTOCOLS
async def test_a_server_that_nobody_vouches_for_is_not_asked(
    tmp_path: Path, certificate: Path, batchyard: Server, protocol: str
) -> None:
    async with behind_tls(certificate, plain_port(batchyard, protocol)) as port:
        remote_model(tmp_path, "quick", urls=f"{protocol}s://localhost:{port}")
        async with gateway_over(tmp_path) as (gateway, _):
            assert "none of its servers can be asked" in gateway.model("quick").reason
