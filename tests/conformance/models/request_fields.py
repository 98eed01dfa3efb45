"""FIELDS = what a request says of itself, as a JSON object with sorted names."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INPUT0 INT32 [1] -> FIELDS BYTES [1]; not batched."""

    def execute(self, requests):
        """One response a request."""
        return [pb_utils.InferenceResponse([_fields(request)]) for request in requests]


def _fields(request):
    fields = {
        "request_id": request.request_id(),
        "correlation_id": request.correlation_id(),
        "flags": request.flags(),
        "timeout": request.timeout(),
        "parameters": json.loads(request.parameters()),
        "requested_output_names": list(request.requested_output_names()),
    }
    return pb_utils.Tensor("FIELDS", np.array([json.dumps(fields, sort_keys=True).encode()], np.object_))
