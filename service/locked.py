"""The server is locked by default: it listens to the network only with keys, or where it was told so in words."""

from ipaddress import ip_address

from service.settings import InvalidSettingsError, Settings

_WITH_KEYS = "name who may call: `batchyard key new` makes a key and the lines for [tenants.NAME] of gateway.toml"


def check_locked(settings: Settings, address: str) -> None:
    """Raises `InvalidSettingsError` where the settings would let anybody in from the network. `address`: the server's
    IP address."""
    if settings.tenants or ip_address(address.partition("%")[0]).is_loopback:
        return
    if settings.allow_control:
        raise InvalidSettingsError(
            f"allow_control = true lets callers load models, and {settings.host} is open to the network: "
            f'wanted tenants, found none; {_WITH_KEYS}, or set host = "127.0.0.1" or allow_control = false'
        )
    if settings.open_to_network != "without keys":
        raise InvalidSettingsError(
            f"host = {settings.host!r} is open to the network, and anybody may ask: wanted tenants, found none; "
            f'{_WITH_KEYS}, or set host = "127.0.0.1", or say that you mean it: open_to_network = "without keys" '
            "(--open-to-network 'without keys')"
        )
