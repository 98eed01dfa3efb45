"""OUTPUTx = INPUTx for each of its optional inputs that a request has; the others have no output."""

import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Any number of inputs named INPUT..., each with an output OUTPUT... of its type and shape."""

    def initialize(self, args):
        """Reads the names of the inputs."""
        inputs = json.loads(args["model_config"])["input"]
        self._suffixes = [each["name"].removeprefix("INPUT") for each in inputs]

    def execute(self, requests):
        """One response a request."""
        return [pb_utils.InferenceResponse(list(self._outputs(request))) for request in requests]

    def _outputs(self, request):
        for suffix in self._suffixes:
            tensor = pb_utils.get_input_tensor_by_name(request, f"INPUT{suffix}")
            if tensor is not None:
                yield pb_utils.Tensor(f"OUTPUT{suffix}", tensor.as_numpy())
