"""OUTPUT = the sum of a sequence's INPUT so far, plus the correlation id at its end where `add_correlation_id` is set.

The id is asked of the request: Triton 2.51 refuses requests where a string one is a control input of a Python model.
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [1]; control inputs START, END and READY."""

    def initialize(self, args):
        """Reads whether the id is added."""
        parameters = json.loads(args["model_config"]).get("parameters", {})
        self._adds_id = parameters.get("add_correlation_id", {}).get("string_value") == "true"
        self._sums = {}

    def execute(self, requests):
        """One response a request, in their order."""
        return [pb_utils.InferenceResponse([self._output(request)]) for request in requests]

    def _output(self, request):
        value = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
        if not _control(request, "READY"):
            return pb_utils.Tensor("OUTPUT", np.zeros_like(value))
        name = request.correlation_id()
        before = 0 if _control(request, "START") else self._sums.get(name, 0)
        self._sums[name] = total = before + value
        if _control(request, "END"):
            del self._sums[name]
            total = total + (int(name) if self._adds_id else 0)
        return pb_utils.Tensor("OUTPUT", total.astype(np.int32))


def _control(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy().flat[0]
