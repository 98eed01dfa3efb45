"""The `batchyard.triton.` parameters, good and bad."""

from pathlib import Path

import certifi
import pytest

from engines import open_servers
from engines.base import EngineOptions
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.remote_model import Address
from engines.triton_settings import read_settings
from tests.engines.config_text import model_folder, read

BAD = (
    ({}, "urls.*is missing; give addresses such as"),
    ({"urls": ""}, "urls.*'' given; give addresses"),
    ({"urls": "host:8001"}, "'host:8001' given"),
    ({"urls": "grpc://host"}, "'grpc://host' given"),
    ({"urls": "grpc://host:0"}, "'grpc://host:0' given"),
    ({"urls": "grpc://host:99999"}, "given"),
    ({"urls": "grpc://host:1/path"}, "given"),
    ({"urls": "ftp://host:1"}, "given"),
    ({"urls": "http://host:1?x"}, "given"),
    ({"urls": "http://me:secret@host:1"}, "it holds a user or password"),
    ({"urls": "grpc://a:1,http://b:1"}, "mixes gRPC and HTTP"),
    ({"urls": "grpc://a:1,grpc://a:1"}, "names a server twice"),
    ({"urls": "grpc://a:1", "dns": "grpc://b:1"}, "contradicts"),
    ({"dns": "grpc://a:1,grpc://b:1"}, "given; give one name"),
    ({"urls": "grpc://a:1", "version": "new"}, "version.*'new'"),
    ({"urls": "grpc://a:1", "max_queue": "0"}, "max_queue.*'0'"),
    ({"urls": "grpc://a:1", "connections": "many"}, "connections.*'many'"),
    ({"urls": "grpc://a:1", "ca_file": "none.pem"}, "ca_file.*'none.pem' is not in"),
    ({"urls": "grpc://a:1", "ca_file": "../x.pem"}, "ca_file.*without \\.\\."),
    ({"urls": "grpc://a:1", "model": ""}, "model.*give the model's name there"),
    ({"url": "grpc://a:1"}, "'batchyard.triton.url' is unknown; known are urls, dns"),
)


def config(tmp_path: Path, text: str) -> ModelConfig:
    return read(text, model_folder(tmp_path))


def text(parameters: dict[str, str]) -> str:
    pairs = (
        f'key: "batchyard.triton.{name}" value {{ string_value: "{value}" }}' for name, value in parameters.items()
    )
    return 'backend: "triton"\n' + "".join(f"parameters {{ {pair} }}\n" for pair in pairs)


@pytest.mark.parametrize(("parameters", "said"), BAD)
def test_what_is_wrong_is_said(tmp_path: Path, parameters: dict[str, str], said: str) -> None:
    with pytest.raises(ModelLoadError, match=said) as raised:
        read_settings(config(tmp_path, text(parameters)), tmp_path / "m")
    assert "secret" not in str(raised.value)


def test_a_list_of_servers(tmp_path: Path) -> None:
    urls = " http://a:80/base/ , https://[::1]:8443"
    settings = read_settings(config(tmp_path, text({"urls": urls, "model": "other", "version": "3"})), tmp_path)
    assert settings.addresses == (Address("http", False, "a", 80, "/base"), Address("http", True, "::1", 8443))
    assert [str(address) for address in settings.addresses] == ["http://a:80/base", "https://[::1]:8443"]
    assert (settings.name, settings.model, settings.version, settings.connections) == (None, "other", "3", 64)


def test_a_name(tmp_path: Path) -> None:
    given = {"dns": "grpcs://triton.svc:8001", "refresh_seconds": "2", "connections": "4", "max_queue": "9"}
    settings = read_settings(config(tmp_path, text(given)), tmp_path)
    assert settings.name == Address("grpc", True, "triton.svc", 8001)
    assert (settings.addresses, settings.refresh, settings.connections, settings.max_queue) == ((), 2.0, 4, 9)
    assert (settings.model, settings.version) == ("m", "")


def test_whom_to_trust_is_a_file_of_the_model(tmp_path: Path) -> None:
    file = model_folder(tmp_path) / "ca.pem"
    found = read(text({"urls": "grpcs://a:1", "ca_file": "ca.pem"}), tmp_path / "m")
    pem = Path(certifi.where()).read_bytes()
    file.write_bytes(pem)
    assert read_settings(found, tmp_path / "m").certificates == pem
    for wrong in (b"", b"PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        file.write_bytes(wrong)
        with pytest.raises(ModelLoadError, match=r"ca_file.*give a PEM file with certificates"):
            read_settings(found, tmp_path / "m")


def test_headers_are_read_of_the_environment_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = config(tmp_path, text({"urls": "grpc://a:1", "headers_env": "TRITON_HEADERS"}))
    monkeypatch.setenv("TRITON_HEADERS", "Authorization: Bearer s3cret\n\nx-tenant:a:b \n")
    settings = read_settings(found, tmp_path)
    assert settings.headers == (("Authorization", "Bearer s3cret"), ("x-tenant", "a:b"))
    assert "s3cret" not in repr(settings)
    for wrong in ("", "s3cret", "a: b\ns3cret", "name:", "näme: s3cret", "a: s3cret\x01", "key-bin: s3cret"):
        monkeypatch.setenv("TRITON_HEADERS", wrong)
        with pytest.raises(ModelLoadError, match="TRITON_HEADERS holds no lines") as raised:
            read_settings(found, tmp_path)
        assert "s3cret" not in str(raised.value)


def test_a_secret_given_for_the_name_of_its_variable_is_not_shown(tmp_path: Path) -> None:
    found = config(tmp_path, text({"urls": "grpc://a:1", "headers_env": "x-key: s3cret"}))
    with pytest.raises(ModelLoadError, match="it is no such name") as raised:
        read_settings(found, tmp_path)
    assert "s3cret" not in str(raised.value)


def test_servers_are_opened_by_the_backends_name(tmp_path: Path) -> None:
    found = config(tmp_path, text({"urls": "grpc://a:1"}))
    servers = open_servers(EngineOptions(found, tmp_path / "m" / "1"))
    assert (servers.model, servers.addresses) == ("m", (Address("grpc", False, "a", 1),))
