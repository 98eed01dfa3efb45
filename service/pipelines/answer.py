"""The caller's end of an answer that a pipeline asked for."""

from collections.abc import Mapping, Sequence

from engines.generation import Event
from service.generating import Generation, GenerationTiming


class PipelineGeneration:
    """A `service.generating.Generation` that passes another on, under the pipeline's name.

    `engine`: all that took part, as an ensemble says it. `spent`: seconds before the other one began.
    """

    def __init__(
        self, inner: Generation, answerer: tuple[str, str, str], spent: float, metadata: Mapping[str, str]
    ) -> None:
        self.model, self.version, self.engine = answerer
        self.metadata = metadata
        self.routed = inner.routed
        self.cached = inner.cached
        self._inner = inner
        self._spent = spent

    @property
    def timing(self) -> GenerationTiming:
        """As the caller waits for it: the first token comes after the time that was spent."""
        inner = self._inner.timing
        first = self._spent + inner.first_token if inner.first_token else 0.0
        return GenerationTiming(inner.queue, first, inner.per_token, inner.predicted, inner.engine_seconds)

    async def read(self) -> Sequence[Event]:
        """See `Generation`."""
        return await self._inner.read()

    def close(self) -> None:
        """See `Generation`."""
        self._inner.close()
