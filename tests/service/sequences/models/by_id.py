"""OUTPUT = the sum of a sequence's INPUT so far, kept by its correlation id; -1 ends the process, -2 is an error."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [1]; control inputs START, END, READY and CORRID."""

    def initialize(self, args):
        """Knows no sequence."""
        self._sums = {}

    def execute(self, requests):
        """One response a request, in their order."""
        return [self._response(request) for request in requests]

    def _response(self, request):
        value, start, end, ready, name = (
            pb_utils.get_input_tensor_by_name(request, key).as_numpy().flat[0]
            for key in ("INPUT", "START", "END", "READY", "CORRID")
        )
        assert ready
        assert name == request.correlation_id()
        if value == -1:
            os._exit(1)
        if value == -2:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("minus two"))
        self._sums[name] = value if start else self._sums[name] + value
        total = self._sums.pop(name) if end else self._sums[name]
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", np.array([[total]], np.int32))])
