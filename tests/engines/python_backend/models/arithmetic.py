"""Y = 2 X, of one execution for all requests; what the requests hold chooses how it fails."""

import os
import subprocess
import sys
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """X FP32 [-1] and WHAT BYTES [1], optional -> Y FP32 [-1] and TEXT BYTES [-1]; batched."""

    def initialize(self, args):
        """Counts executions."""
        self.executions = 0

    def execute(self, requests):
        """One response a request."""
        self.executions += 1
        faults = [_what(request) for request in requests]
        responses = [self._answer(request, what) for request, what in zip(requests, faults, strict=True)]
        if "count" in faults:
            return responses[1:]
        if "type" in faults:
            return [3] * len(requests)
        return responses

    def _answer(self, request, what):
        if what == "raise":
            raise ValueError("told to raise")
        if what == "model":
            raise pb_utils.TritonModelException("told to raise")
        if what == "exit":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if what == "orphan":
            subprocess.Popen(["sleep", "20"], close_fds=False)
            os._exit(4)
        if what == "system exit":
            sys.exit("told to exit")
        if what == "interrupt":
            raise KeyboardInterrupt("told to stop")
        while what == "hang":
            time.sleep(0.05)
        if what == "own":
            error = pb_utils.TritonError("not this one", pb_utils.TritonError.NOT_FOUND)
            return pb_utils.InferenceResponse(error=error)
        if what == "none":
            return None
        if what == "parameters":
            return pb_utils.InferenceResponse(_outputs(request, what), parameters={"executions": self.executions})
        return pb_utils.InferenceResponse(_outputs(request, what))


def _outputs(request, what):
    values = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
    text = np.array([[b"a\0b", "\u00e9", 3, b""]], np.object_)
    doubled = pb_utils.Tensor("Y", 2 * values)
    if what == "missing":
        return [doubled]
    return [doubled, pb_utils.Tensor("TEXT", text), pb_utils.Tensor("EXTRA", values)]


def _what(request):
    tensor = pb_utils.get_input_tensor_by_name(request, "WHAT")
    return "" if tensor is None else tensor.as_numpy()[0, 0].decode()
