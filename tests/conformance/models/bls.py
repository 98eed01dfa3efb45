"""Asks the model `simple` for INPUT0 + INPUT1, then for (INPUT0 + INPUT1) +- INPUT1: OUTPUT0 and OUTPUT1."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [16], batched as `simple` is."""

    def execute(self, requests):
        """One response a request."""
        return [_answer(request) for request in requests]


def _answer(request):
    left, right = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT0", "INPUT1"))
    first = _ask(left, right, ["OUTPUT0"])
    if first.has_error():
        return pb_utils.InferenceResponse([], first.error())
    total = pb_utils.get_output_tensor_by_name(first, "OUTPUT0").as_numpy()
    second = _ask(total, right, ["OUTPUT0", "OUTPUT1"])
    if second.has_error():
        return pb_utils.InferenceResponse([], second.error())
    return pb_utils.InferenceResponse(second.output_tensors())


def _ask(left, right, outputs):
    inputs = [pb_utils.Tensor("INPUT0", left), pb_utils.Tensor("INPUT1", right)]
    request = pb_utils.InferenceRequest(model_name="simple", requested_output_names=outputs, inputs=inputs)
    return request.exec()
