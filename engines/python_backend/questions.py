"""The questions of one Python model to other models, and the way of the answers back into its process."""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import RLock, Thread

from engines.calls import Ask, Question, ReadyQuestion, Response
from engines.errors import EngineError, InvalidInputError, ModelAnsweredError
from engines.python_backend.messages import END, START, Answer, Asked, AskedReady, Told
from engines.tensor import Array, Tensors

Tell = Callable[[Told, Tensors], None]

_GIVEN_UP = Answer(code="CANCELLED", error="the model gave this question up")


class Questions:
    """`ask` answers them; `tell` sends an answer, and may wait for the process: a thread of ours calls it."""

    def __init__(self, name: str, ask: Ask, tell: Tell) -> None:
        self._ask = ask
        self._tell = tell
        self._lock = RLock()
        self._open: dict[int, Callable[[], None]] = {}
        self._answers: SimpleQueue[tuple[Told, Tensors] | None] = SimpleQueue()
        self._thread = Thread(target=self._hand_on, name=f"{name}: answers", daemon=True)

    def are_open(self) -> bool:
        """Does the model wait for an answer?"""
        return bool(self._open)

    def open(self, asked: Asked | AskedReady, tensors: dict[str, Array]) -> None:
        """Has a question answered; called by one thread."""
        if not self._thread.is_alive():
            self._thread.start()
        question = _question(asked, tensors)
        several = isinstance(question, Question) and question.decoupled
        with self._lock:  # no answer is looked at before it is known how to give the question up
            self._open[asked.key] = lambda: None
            give_up = self._ask(question, partial(self._respond, asked.key, several))
            if asked.key in self._open:
                self._open[asked.key] = give_up

    def give_up(self, key: int) -> None:
        """The model wants no more answers; it is told that none comes."""
        with self._lock:
            give_up = self._open.pop(key, None)
        if give_up is not None:
            give_up()
            self._answers.put((Told(key, _GIVEN_UP), {}))

    def close(self) -> None:
        """The model is gone: gives up whatever it asked."""
        with self._lock:
            given_up, self._open = list(self._open.values()), {}
        for give_up in given_up:
            give_up()
        self._answers.put(None)

    def _respond(self, key: int, several: bool, response: Response) -> None:
        final = response.final or response.error is not None or not several
        with self._lock:
            if key not in self._open:
                return
            if final:
                del self._open[key]
        if response.error is not None:
            answer = Answer(code=_code(response.error), error=str(response.error))
        else:
            answer = Answer(final, dict(response.parameters))
        self._answers.put((Told(key, answer), response.outputs))

    def _hand_on(self) -> None:
        while (item := self._answers.get()) is not None:
            told, outputs = item
            try:
                self._tell(told, outputs)
            except Exception as error:  # of a text, a number or a tensor that has no form on the line; nothing was sent
                self._end(told.key, f"the answer cannot be sent to the model: {error}")
            del item, told, outputs

    def _end(self, key: int, reason: str) -> None:
        with self._lock:
            give_up = self._open.pop(key, None)
        if give_up is not None:
            give_up()
        self._tell(Told(key, Answer(code="INTERNAL", error=reason)), {})


def _question(asked: Asked | AskedReady, tensors: Tensors) -> Question | ReadyQuestion:
    if isinstance(asked, AskedReady):
        return ReadyQuestion(asked.model, asked.version)
    return Question(
        asked.model,
        tensors,
        version=asked.version,
        outputs=tuple(asked.outputs),
        id=asked.id,
        parameters=asked.parameters,
        correlation=asked.correlation,
        start=bool(asked.flags & START),
        end=bool(asked.flags & END),
        timeout=asked.timeout,
        decoupled=asked.decoupled,
    )


def _code(error: EngineError) -> str:
    if isinstance(error, ModelAnsweredError):
        return error.code
    return "INVALID_ARG" if isinstance(error, InvalidInputError) else "INTERNAL"
