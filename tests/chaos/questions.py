"""Requests with a known right answer: the identity model gives a nonce back, the text model a vector seen before."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

APART, PLAIN, STEADY, TEXT = "apart", "plain", "steady", "text"
"""Models: identity in two processes, identity in the server's own, identity with a known peak, a text encoder."""

FAULTS: Mapping[str, int] = {
    "fail_on_value": -1,
    "nan_on_value": -2,
    "wrong_rows_on_value": -3,
    "crash_on_value": -4,
    "memory_on_value": -5,
    "exit_on_value": -6,
    "hang_on_value": -7,
}
"""The first number of a row that has the identity engine do this; rows without a fault begin with a positive one."""
DEADLY = ("exit_on_value", "hang_on_value")
"""Faults that end the process they run in."""

LEAST_COSINE = 0.9999
"""Of a text's vector to the one it got alone: packing moves it by rounding only."""
_MOST_ROWS = 3
_COLUMNS = 3
_NONCES = 2**24
"""FP32 holds whole numbers below this exactly."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Vector = np.ndarray[Any, np.dtype[np.float32]]
Right = Callable[["Answer"], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """One inference request. `right`: is this answer of status 200 the one? `expects`: outcomes its row allows."""

    model: str
    body: bytes
    right: Right
    expects: Collection[str]
    headers: Mapping[str, str]

    def request(self, host: str, request_id: str) -> bytes:
        """Its bytes on the wire."""
        lines = {"host": host, "content-length": len(self.body), "x-request-id": request_id, **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST /v2/models/{self.model}/infer HTTP/1.1\r\n{head}\r\n".encode() + self.body


@dataclass(slots=True)
class Questions:
    """Makes questions; no nonce comes twice. `texts`: each with the vector that it got alone."""

    chance: Random
    texts: Sequence[tuple[str, Vector]] = ()
    _nonce: int = 0

    def good(
        self, model: str, expects: Collection[str] = ("right",), headers: Mapping[str, str] = NO_HEADERS
    ) -> Question:
        """A request without fault, with one to three rows or one text."""
        if model == TEXT:
            return _text(self.chance.randrange(len(self.texts)), self.texts, expects, headers)
        rows = self.rows(self.chance.randint(1, _MOST_ROWS))
        ask = _binary if self.chance.random() < 1 / 4 else _json
        return ask(model, rows, lambda given: bool(np.array_equal(given, rows)), expects, headers)

    def bad(self, model: str, fault: str, expects: Collection[str] = ("clean error",)) -> Question:
        """A request with one row that is at fault; no answer to it is right."""
        rows = self.rows(self.chance.randint(1, _MOST_ROWS))
        rows[self.chance.randrange(len(rows)), 0] = FAULTS[fault]
        return _json(model, rows, lambda _: False, expects, NO_HEADERS)

    def wide(self, model: str, columns: int) -> Question:
        """A request with one row of so many numbers."""
        rows = np.arange(columns, dtype=np.float32)[None]
        rows[0, :_COLUMNS] = self.rows(1)
        return _json(model, rows, lambda given: bool(np.array_equal(given, rows)), ("right",), NO_HEADERS)

    def rows(self, count: int) -> Vector:
        """FP32 [count, 3]: a positive number, the nonce, a random number."""
        made = np.empty((count, _COLUMNS), np.float32)
        for number in range(count):
            self._nonce = (self._nonce + 1) % _NONCES
            made[number] = (number + 1, self._nonce, self.chance.random())
        return made


def _json(
    model: str, rows: Vector, right: Callable[[Vector], bool], expects: Collection[str], headers: Mapping[str, str]
) -> Question:
    tensor = {"name": "INPUT0", "datatype": "FP32", "shape": rows.shape, "data": rows.ravel().tolist()}
    body = orjson.dumps({"inputs": [tensor]})
    return Question(model, body, lambda answer: right(_numbers(answer)), expects, headers)


def _binary(
    model: str, rows: Vector, right: Callable[[Vector], bool], expects: Collection[str], headers: Mapping[str, str]
) -> Question:
    raw = rows.astype("<f4").tobytes()
    parameters = {"binary_data_size": len(raw)}
    tensor = {"name": "INPUT0", "datatype": "FP32", "shape": rows.shape, "parameters": parameters}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    lengths = {"inference-header-content-length": str(len(head)), **headers}
    return Question(model, head + raw, lambda answer: right(_raw_numbers(answer)), expects, lengths)


def _text(
    which: int, texts: Sequence[tuple[str, Vector]], expects: Collection[str], headers: Mapping[str, str]
) -> Question:
    def right(answer: Answer) -> bool:
        cosines = [float(vector @ _numbers(answer)[0]) for _, vector in texts]
        return cosines[which] >= LEAST_COSINE and max(cosines) == cosines[which]

    return Question(TEXT, text_body(texts[which][0]), right, expects, headers)


def text_body(text: str) -> bytes:
    """The body that asks for one text's vector."""
    return orjson.dumps({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": [text]}]})


def vector_of(answer: Answer) -> Vector:
    """The vector in an answer of the text model."""
    found: Vector = _numbers(answer)[0]
    return found


def _numbers(answer: Answer) -> Vector:
    (output,) = orjson.loads(answer.body)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def _raw_numbers(answer: Answer) -> Vector:
    size = int(answer.headers["inference-header-content-length"])
    (output,) = orjson.loads(answer.body[:size])["outputs"]
    return np.frombuffer(answer.body[size:], "<f4").reshape(output["shape"])
