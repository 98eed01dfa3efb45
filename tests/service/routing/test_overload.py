"""A route over real models whose first variant cannot carry the load."""

import asyncio
import time
from pathlib import Path

import numpy as np

from service.errors import BatchyardError, DeadlineExceededError, RetryLaterError
from service.gateway import Gateway
from service.routing.policies import Variant, fastest
from service.routing.route import Route
from service.types import Hints, InferRequest, InferResponse
from tests.service.test_runtime import Write, opened

SLOW = """
backend: "identity" max_batch_size: 1
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 2 ] } ]
parameters { key: "batchyard.identity.delay_ms" value { string_value: "100" } }
"""
QUICK = SLOW.replace('"100"', '"1"')
SMALL = Variant("small", quality=0.9, step_down=True)
WITHIN = 1.5
"""Seconds: fifteen requests' time of the slow one."""


async def asked(gateway: Gateway, number: int, hints: Hints) -> InferResponse | BatchyardError:
    given = {"INPUT0": np.array([[number, 1]], np.float32)}
    request = InferRequest("both", given, deadline=time.monotonic() + WITHIN, hints=hints)
    try:
        return await gateway.infer(request)
    except (RetryLaterError, DeadlineExceededError) as error:  # the last that was accepted may be late by a hair
        return error


async def test_it_steps_down_where_callers_allow_it(tmp_path: Path, write: Write) -> None:
    write("large", SLOW)
    write("small", QUICK)
    route = Route("both", ("small", "large"), fastest, {"small": SMALL})
    async with opened(tmp_path, route) as gateway:
        strict, easy = Hints(min_quality=0.95), Hints()
        answers = await asyncio.gather(*(asked(gateway, number, (easy, strict)[number % 2]) for number in range(80)))
    for number, answer in enumerate(answers):
        if isinstance(answer, InferResponse):
            assert answer.outputs["OUTPUT0"].tolist() == [[number, 1]]
            assert answer.routed.step_down == ("small:1" if answer.model == "small" else "")
    answered = {
        (number % 2, answer.model) for number, answer in enumerate(answers) if isinstance(answer, InferResponse)
    }
    assert {(0, "small"), (1, "large")} <= answered <= {(0, "small"), (0, "large"), (1, "large")}
    refused = {number: answer for number, answer in enumerate(answers) if isinstance(answer, RetryLaterError)}
    assert {number % 2 for number in refused} == {1}, "who allows it has always the small one"
    assert all(error.retry_after > 0 for error in refused.values())
