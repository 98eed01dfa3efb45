"""TEXT = the answers of the models `one` and `two`, asked at the same time, and of a decoupled one."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """X FP32 [-1] -> TEXT BYTES [-1]; not batched."""

    async def execute(self, requests):
        """One response a request."""
        return [await _answer(request) for request in requests]


async def _answer(request):
    x = pb_utils.get_input_tensor_by_name(request, "X")
    questions = [
        pb_utils.InferenceRequest(model_name=name, requested_output_names=["Y"], inputs=[x]) for name in ("one", "two")
    ]
    found = await asyncio.gather(*(question.async_exec() for question in questions))
    many = pb_utils.InferenceRequest(model_name="many", requested_output_names=["Y"], inputs=[x])
    found += list(await many.async_exec(decoupled=True))
    texts = [str(each.output_tensors() and each.output_tensors()[0].as_numpy().tolist()) for each in found]
    return pb_utils.InferenceResponse([pb_utils.Tensor("TEXT", np.array(texts, np.object_))])
