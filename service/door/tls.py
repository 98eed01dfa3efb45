"""The certificate and key of the server, read and checked once."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from service.settings import InvalidSettingsError, Settings


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts, and the context of HTTP. `client_ca`: who signs the certificates that callers must show; empty: they
    need none."""

    certificate: bytes
    key: bytes
    client_ca: bytes
    context: ssl.SSLContext


def load_tls(settings: Settings) -> Tls | None:
    """None where TLS is not wanted. Raises `InvalidSettingsError` where a file is missing, or does not fit."""
    if not settings.tls_certificate and not settings.tls_key:
        if settings.tls_client_ca:
            raise InvalidSettingsError("tls_client_ca: needs tls_certificate and tls_key; set them too")
        return None
    certificate = _read("tls_certificate", settings.tls_certificate)
    key = _read("tls_key", settings.tls_key)
    client_ca = _read("tls_client_ca", settings.tls_client_ca) if settings.tls_client_ca else b""
    return Tls(certificate, key, client_ca, _context(settings))


def _read(setting: str, path: Path | None) -> bytes:
    if path is None:
        raise InvalidSettingsError(f"{setting}: is missing; TLS needs tls_certificate and tls_key, both PEM files")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSettingsError(f"{setting}: {str(path)!r} cannot be read: {error.strerror}") from error


def _context(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=_no_password)  # type: ignore[arg-type]
    except (ssl.SSLError, ValueError) as error:
        found = f"{str(settings.tls_certificate)!r} and {str(settings.tls_key)!r}"
        wanted = "wanted a PEM certificate chain and its PEM key without a password"
        raise InvalidSettingsError(f"tls_certificate, tls_key: {found} do not fit: {error}; {wanted}") from error
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except ssl.SSLError as error:
            wanted = "wanted PEM certificates of those who sign callers'"
            raise InvalidSettingsError(f"tls_client_ca: {str(settings.tls_client_ca)!r}: {error}; {wanted}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    """Instead of a question at the terminal."""
    raise ValueError("the key has a password")
