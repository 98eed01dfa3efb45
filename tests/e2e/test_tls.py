"""TLS of a real process: HTTP and gRPC with the clients that people use, what is refused, and what the start says."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import grpc
import httpx
import numpy as np
import openai
import pytest
import tritonclient.grpc
import tritonclient.http
import trustme
from tritonclient.utils import InferenceServerException

from tests.e2e.processes import IDENTITY, ROOT, Server, serving, write_model


class Files:
    """A certificate authority, and PEM files of what it has signed."""

    def __init__(self, folder: Path) -> None:
        self._authority, self._callers = trustme.CA(), trustme.CA()
        self.ca, self.callers_ca = folder / "ca.pem", folder / "callers_ca.pem"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.caller, self.caller_key = folder / "caller.pem", folder / "caller.key"
        self._authority.cert_pem.write_to_path(self.ca)
        self._callers.cert_pem.write_to_path(self.callers_ca)
        server = self._authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_pem.write_to_path(self.key)
        for part in server.cert_chain_pems:
            part.write_to_path(self.certificate, append=True)
        caller = self._callers.issue_cert("caller@example.org")
        caller.private_key_pem.write_to_path(self.caller_key)
        caller.cert_chain_pems[0].write_to_path(self.caller)

    @property
    def arguments(self) -> tuple[str, ...]:
        return "--tls-certificate", str(self.certificate), "--tls-key", str(self.key)

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    write_model(folder / "models", "identity", IDENTITY)
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> Files:
    return Files(folder)


@pytest.fixture(scope="module")
def server(folder: Path, files: Files) -> Iterator[Server]:
    with serving(folder, folder / "models", *files.arguments, "--limits", '{"head_seconds": 1}') as server:
        yield server


def inputs(client: object) -> list[object]:
    given = client.InferInput("INPUT0", [1, 1], "FP32")  # type: ignore[attr-defined]
    given.set_data_from_numpy(np.full((1, 1), 5, np.float32))
    return [given]


def test_httpx(server: Server, files: Files) -> None:
    answer = httpx.get(f"https://127.0.0.1:{server.port}/v2/health/ready", verify=files.context)
    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


def test_tritonclient_http(server: Server, files: Files) -> None:
    client = tritonclient.http.InferenceServerClient(
        f"localhost:{server.port}", ssl=True, ssl_context_factory=lambda: files.context
    )
    with closing(client):
        answer = client.infer("identity", inputs(tritonclient.http))
        assert answer.as_numpy("OUTPUT0").tolist() == [[5]]


def test_tritonclient_grpc(server: Server, files: Files) -> None:
    url = f"localhost:{server.grpc.rpartition(':')[2]}"
    with tritonclient.grpc.InferenceServerClient(url, ssl=True, root_certificates=str(files.ca)) as client:
        answer = client.infer("identity", inputs(tritonclient.grpc))
        assert answer.as_numpy("OUTPUT0").tolist() == [[5]]


def test_openai(server: Server, files: Files) -> None:
    with (
        httpx.Client(verify=files.context) as http,
        openai.OpenAI(base_url=f"https://localhost:{server.port}/v1", api_key="none", http_client=http) as client,
    ):
        assert [model.id for model in client.models.list()] == ["identity"]


def test_callers_without_tls_or_with_an_old_one_or_another_authority_are_refused(server: Server, files: Files) -> None:
    url = f"127.0.0.1:{server.port}"
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://{url}/v2/health/ready")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://{url}/v2/health/ready")
    old = files.context
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError, match=r"(?i)protocol"):
        httpx.get(f"https://{url}/v2/health/ready", verify=old)
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(timeout=1)


def test_a_handshake_that_does_not_come_to_its_end_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
        silent.sendall(bytes.fromhex("1603010200"))
        assert silent.recv(100) == b""


def test_callers_show_a_certificate_where_they_must(folder: Path, files: Files) -> None:
    ours = files.context
    ours.load_cert_chain(files.caller, files.caller_key)
    root, key, chain = (path.read_bytes() for path in (files.ca, files.caller_key, files.caller))
    arguments = (*files.arguments, "--tls-client-ca", str(files.callers_ca))
    with ExitStack() as held:
        own = folder / "mutual"
        own.mkdir()
        server = held.enter_context(serving(own, folder / "models", *arguments))
        url = f"https://localhost:{server.port}/v2/health/ready"
        assert httpx.get(url, verify=ours).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=files.context)
        there = f"localhost:{server.grpc.rpartition(':')[2]}"
        known = tritonclient.grpc.InferenceServerClient(
            there, creds=grpc.ssl_channel_credentials(root, key, chain), ssl=True
        )
        assert held.enter_context(known).is_server_ready()
        unknown = tritonclient.grpc.InferenceServerClient(there, ssl=True, root_certificates=str(files.ca))
        with pytest.raises(InferenceServerException):
            held.enter_context(unknown).is_server_ready(client_timeout=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tls_key": None}, "tls_key: is missing; TLS needs tls_certificate and tls_key, both PEM files"),
        ({"tls_certificate": None}, "tls_certificate: is missing"),
        ({"tls_certificate": "nowhere.pem"}, "tls_certificate: 'nowhere.pem' cannot be read: No such file"),
        ({"tls_key": "caller.key"}, "do not fit"),
        ({"tls_key": "noise.pem"}, "wanted a PEM certificate chain and its PEM key without a password"),
        ({"tls_key": "locked.key"}, "key without a password"),
        ({"tls_client_ca": "noise.pem"}, "tls_client_ca: 'noise.pem'"),
        ({"tls_certificate": None, "tls_key": None, "tls_client_ca": "ca.pem"}, "tls_client_ca: needs tls_certificate"),
    ],
)
def test_files_that_do_not_fit_are_said_at_the_start(
    folder: Path, files: Files, changes: dict[str, str | None], words: str
) -> None:
    (folder / "noise.pem").write_text("noise")
    _lock(files.key, folder / "locked.key")
    settings: dict[str, str | int | None] = {
        "port": 0,
        "grpc_port": 0,
        "tls_certificate": "server.pem",
        "tls_key": "server.key",
        **changes,
    }
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items() if value is not None)
    (folder / "given.toml").write_text(text)
    command = [sys.executable, "-m", "service.cli", "serve", "--config", "given.toml"]
    ended = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def _lock(key: Path, to: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    loaded = load_pem_private_key(key.read_bytes(), None)
    to.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
