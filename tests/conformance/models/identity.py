"""OUTPUT0 = INPUT0; waits `execute_delay_ms` (a parameter of the model) each time it is executed."""

import json
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One input of any type and shape."""

    def initialize(self, args):
        """Reads the delay."""
        parameters = json.loads(args["model_config"]).get("parameters", {})
        self._delay = int(parameters.get("execute_delay_ms", {}).get("string_value", 0)) / 1000

    def execute(self, requests):
        """One response a request."""
        time.sleep(self._delay)
        return [pb_utils.InferenceResponse([_output(request)]) for request in requests]


def _output(request):
    return pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy())
