"""OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1, of the type of the inputs; strings are decimal numbers."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Any two inputs of one shape."""

    def execute(self, requests):
        """One response a request; a string that is no number is that request's own error."""
        return [_answer(request) for request in requests]


def _answer(request):
    left, right = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("INPUT0", "INPUT1"))
    if left.dtype != np.object_:
        return _response(left + right, left - right)
    try:
        left, right = _numbers(left), _numbers(right)
    except ValueError as error:
        return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
    return _response(_strings(left + right), _strings(left - right))


def _response(total, difference):
    return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", total), pb_utils.Tensor("OUTPUT1", difference)])


def _numbers(strings):
    return np.array([int(each) for each in strings.flat], np.int64).reshape(strings.shape)


def _strings(numbers):
    return np.array([str(each).encode() for each in numbers.flat], np.object_).reshape(numbers.shape)
