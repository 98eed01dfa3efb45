"""A lane to other servers for the batches that the gateway composes: blocks its thread until one of them answers."""

import asyncio
from collections.abc import Callable
from functools import partial

from engines.base import Outputs
from engines.batch import Batch
from engines.calls import Question, Response
from engines.errors import EngineError, ExecutionError
from engines.model_config import ModelConfig
from service.remote.asking import Asking
from service.remote.endpoint import Endpoint


class RemoteLane:
    """Implements `engines.base.Engine`. `seconds`: that a batch may take. `loop`: where the servers are asked."""

    def __init__(
        self,
        config: ModelConfig,
        asking: Asking,
        seconds: float,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.signature = config.signature
        self._model = config.name
        self._asking = asking
        self._seconds = seconds
        self._clock = clock
        self._loop = loop

    def warm_up(self) -> None:
        """Those servers warm themselves."""

    def run(self, batch: Batch) -> Outputs:
        """See `Engine`."""
        work = partial(_answer, Question(self._model, batch.inputs))
        asked = self._asking.anywhere(work, self._clock() + self._seconds)
        try:
            response = asyncio.run_coroutine_threadsafe(asked, self._loop).result()
        except EngineError:
            raise
        except BaseException as error:
            asked.close()
            raise ExecutionError(f"asking the model's servers ended: {type(error).__name__}: {error}") from error
        return response.outputs

    def close(self) -> None:
        """Holds nothing of its own."""


async def _answer(question: Question, endpoint: Endpoint, left: float) -> Response:
    return await endpoint.remote.infer(question, left)
