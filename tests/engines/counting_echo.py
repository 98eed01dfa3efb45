"""The echo generator with a vocabulary, as what runs in a process of its own must have one."""

from engines import echo
from engines.base import EngineOptions


class CountingEcho(echo.EchoGenerator):
    vocabulary = 256


def open_generator(options: EngineOptions) -> CountingEcho:
    return CountingEcho(options.config)
