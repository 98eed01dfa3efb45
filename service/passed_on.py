"""What wraps an accepted request for generated text shares."""

from collections.abc import Mapping

from service.generating import Generation, GenerationTiming


class PassedOn:
    """The facts of `inner`, for a `service.generating.Generation` that passes it on with a `read` and `close` of its
    own."""

    def __init__(self, inner: Generation) -> None:
        self.model = inner.model
        self.version = inner.version
        self.engine = inner.engine
        self.routed = inner.routed
        self.cached = inner.cached
        self._inner = inner

    @property
    def timing(self) -> GenerationTiming:
        return self._inner.timing

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._inner.metadata
