"""The server listens to the network only with keys, or where it was told so in words."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.locked import check_locked
from service.settings import InvalidSettingsError, Settings
from service.tenant_settings import TenantSettings

TENANTS = {"app": TenantSettings(keys=["0" * 64])}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_needs_no_keys(address: str) -> None:
    check_locked(Settings(host=address, allow_control=True), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", "::", "fe80::1%eth0"])
def test_the_network_needs_keys_or_words(address: str) -> None:
    check_locked(Settings(host=address, tenants=TENANTS, allow_control=True), address)
    check_locked(Settings(host=address, open_to_network="without keys"), address)
    with pytest.raises(InvalidSettingsError) as caught:
        check_locked(Settings(host=address), address)
    said = str(caught.value)
    assert said.startswith(
        f"host = {address!r} is open to the network, and anybody may ask: wanted tenants, found none"
    )
    assert "batchyard key new" in said
    assert "--open-to-network 'without keys'" in said


def test_control_is_never_open_to_the_network() -> None:
    settings = Settings(host="0.0.0.0", open_to_network="without keys", allow_control=True)
    with pytest.raises(InvalidSettingsError, match="allow_control = true lets callers load models"):
        check_locked(settings, "0.0.0.0")


def test_the_command_refuses() -> None:
    command = [sys.executable, "-m", "service.cli", "serve", "--host", "0.0.0.0", "--port", "0", "--grpc", "false"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "is open to the network" in done.stderr
