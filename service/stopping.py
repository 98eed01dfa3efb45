"""The server's word to the rest of the service that it is going to stop."""

from dataclasses import dataclass


@dataclass(slots=True)
class Stopping:
    """`begun`: the server was told to stop. From then on it is not ready, but still answers what comes."""

    begun: bool = False
