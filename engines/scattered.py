"""`batch_output` of config.pbtxt: outputs that all requests of a batch give in one piece, without rows."""

from collections.abc import Sequence
from dataclasses import replace

from engines.base import Engine, Outputs
from engines.batch import Batch
from engines.model_config import BatchOutput


class ScatteredEngine:
    """Implements `Engine`; the `batch_outputs` are flat. `engines.batch.Ragged` cuts them into the requests' parts."""

    def __init__(self, engine: Engine, batch_outputs: Sequence[BatchOutput]) -> None:
        self._engine = engine
        self._flat = {made.target_name for made in batch_outputs}
        inner = engine.signature
        outputs = (replace(spec, shape=()) if spec.name in self._flat else spec for spec in inner.outputs)
        self.signature = replace(inner, outputs=tuple(outputs))

    def warm_up(self) -> None:
        """See `Engine`."""
        self._engine.warm_up()

    def run(self, batch: Batch) -> Outputs:
        """See `Engine`."""
        outputs = self._engine.run(batch)
        return {name: array.ravel() if name in self._flat else array for name, array in outputs.items()}

    def close(self) -> None:
        """See `Engine`."""
        self._engine.close()
