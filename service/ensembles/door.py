"""What ensembles and pipelines ask of the gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.types import InferRequest, InferResponse, Offer, Prediction, Responses, Tenant

Infer = Callable[[InferRequest], Awaitable[InferResponse]]
Stream = Callable[[InferRequest], Awaitable[Responses]]
Predict = Callable[[str, int, float, Tenant], Prediction]
"""When a request to a model or route would be answered: by its name, its cost and its deadline."""


@dataclass(frozen=True, slots=True)
class Door:
    """`fault_of`: why a model or route cannot answer, "" if it can. `offer_of`: what it takes and gives, by its version
    ("" is the newest); None where it is not open."""

    infer: Infer
    stream: Stream
    fault_of: Callable[[str], str]
    predict_of: Predict
    offer_of: Callable[[str, str], Offer | None]
