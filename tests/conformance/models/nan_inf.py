"""OUTPUT0 = [NaN, inf, -inf, 1, 2, 3], whatever INPUT0 is."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """FP32 [-1] -> FP32 [6]; not batched."""

    def execute(self, requests):
        """One response a request."""
        values = np.array([np.nan, np.inf, -np.inf, 1, 2, 3], np.float32)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", values)]) for _ in requests]
