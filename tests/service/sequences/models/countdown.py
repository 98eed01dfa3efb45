"""Answers INPUT times: each time with what is left of the sequence's sum of INPUT, counting down."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [1], decoupled; control inputs START and CORRID."""

    def initialize(self, args):
        """Knows no sequence."""
        self._sums = {}

    def execute(self, requests):
        """Sends the answers before it returns."""
        for request in requests:
            value, start, name = (
                pb_utils.get_input_tensor_by_name(request, key).as_numpy().flat[0]
                for key in ("INPUT", "START", "CORRID")
            )
            self._sums[name] = total = value if start else self._sums[name] + value
            sender = request.get_response_sender()
            for less in range(value):
                tensor = pb_utils.Tensor("OUTPUT", np.array([[total - less]], np.int32))
                sender.send(pb_utils.InferenceResponse([tensor]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
