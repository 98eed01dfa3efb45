"""FIELDS = what a request says of itself and the model was initialized with, as a JSON object."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """X INT32 [-1] -> FIELDS BYTES [1] and OTHER INT32 [1]; not batched."""

    def initialize(self, args):
        """Keeps the arguments."""
        self.args = args

    def execute(self, requests):
        """One response a request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        (x,) = request.inputs()
        fields = {
            "request_id": request.request_id(),
            "correlation_id": request.correlation_id(),
            "flags": request.flags(),
            "timeout": request.timeout(),
            "parameters": json.loads(request.parameters()),
            "outputs": sorted(request.requested_output_names()),
            "cancelled": request.is_cancelled(),
            "trace": request.trace().get_context(),
            "input": [x.name(), x.shape(), x.is_cpu(), x.as_numpy().flags.writeable],
            "args": self.args,
            "config": json.loads(self.args["model_config"]),
            "folder": pb_utils.get_model_dir(),
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("FIELDS", np.array([json.dumps(fields).encode()], np.object_))]
        )
