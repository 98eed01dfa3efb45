"""Decoupled, by a coroutine: N responses, Y = 0, 1, ..., with pauses in between; a negative N raises after one."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """N INT32 [1] -> Y INT32 [1]; not batched."""

    async def execute(self, requests):
        """All requests at once."""
        await asyncio.gather(*map(_answer, requests))


async def _answer(request):
    (count,) = pb_utils.get_input_tensor_by_name(request, "N").as_numpy()
    sender = request.get_response_sender()
    for value in range(abs(count)):
        await asyncio.sleep(0.001)
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([value], np.int32))]))
        if count < 0:
            raise ValueError("told to raise")
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
