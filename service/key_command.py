"""`batchyard key new`: a key for a caller."""

from service.access.keys import digest_of, new_key

HELP = """\
Prints a new key of 256 bits, and the line of gateway.toml by which the server knows it: its SHA-256, from which the key
cannot be found. Callers send the key as "authorization: Bearer KEY" or "x-api-key: KEY".

example:
  batchyard key new
"""


def told_key() -> str:
    """A new key, and what to do with it."""
    key = new_key()
    return (
        f"key:  {key}\n"
        "      shown this once; give it to whoever is to call\n"
        f'line: keys = ["{digest_of(key.encode()).hex()}"]\n'
        "      for the table [tenants.NAME] of gateway.toml"
    )
