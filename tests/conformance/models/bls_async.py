"""Asks `simple` for the sum and `simple_int8` for the difference at the same time: OUTPUT0 and OUTPUT1."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT8 [16], batched as both are."""

    async def execute(self, requests):
        """One response a request."""
        return await asyncio.gather(*map(_answer, requests))


async def _answer(request):
    inputs = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT0", "INPUT1")]
    wide = [each.astype(np.int32) for each in inputs]
    answers = await asyncio.gather(_ask("simple", wide, "OUTPUT0"), _ask("simple_int8", inputs, "OUTPUT1"))
    for answer in answers:
        if answer.has_error():
            return pb_utils.InferenceResponse([], answer.error())
    total = pb_utils.get_output_tensor_by_name(answers[0], "OUTPUT0").as_numpy().astype(np.int8)
    difference = pb_utils.get_output_tensor_by_name(answers[1], "OUTPUT1")
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", total), difference])


async def _ask(model, values, output):
    inputs = [pb_utils.Tensor(f"INPUT{index}", each) for index, each in enumerate(values)]
    return await pb_utils.InferenceRequest(
        model_name=model, requested_output_names=[output], inputs=inputs
    ).async_exec()
