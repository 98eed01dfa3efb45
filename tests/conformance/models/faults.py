"""OUTPUT0 = INPUT0; a request whose INPUT0 is negative gets an error of its own, and -2 fails all that run with it."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """INT32 [1]."""

    def execute(self, requests):
        """One response a request."""
        return [_answer(pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()) for request in requests]


def _answer(values):
    if (values == -2).any():
        raise RuntimeError("-2 fails the whole batch")
    if (values < 0).any():
        error = pb_utils.TritonError(f"{values.min()} is negative", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse([], error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", values)])
