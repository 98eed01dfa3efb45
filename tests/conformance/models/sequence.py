"""OUTPUT = INPUT, plus 1 where a sequence starts, plus the correlation id where it ends (if it is a control input)."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [1]; keeps nothing between requests."""

    def execute(self, requests):
        """One response a request, in their order."""
        return [pb_utils.InferenceResponse([_output(request)]) for request in requests]


def _output(request):
    value = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
    added = _control(request, "START")
    if _control(request, "END"):
        added += int(_control(request, "CORRID"))
    return pb_utils.Tensor("OUTPUT", (value + added).astype(np.int32))


def _control(request, name):
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return 0 if tensor is None else tensor.as_numpy().flat[0]
