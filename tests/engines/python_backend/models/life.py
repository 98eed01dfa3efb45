"""Y = X; writes what happens to it into a file, logs, and fails where it is told to by its parameters."""

import json
import time

import helper_beside
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """X FP32 [-1] -> Y FP32 [-1]; not batched."""

    def initialize(self, args):
        """Reads the parameters."""
        given = json.loads(args["model_config"])["parameters"]
        self._given = {key: value["string_value"] for key, value in given.items()}
        print("printed by the model", flush=True)
        for log in (
            pb_utils.Logger.log_info,
            pb_utils.Logger.log_warn,
            pb_utils.Logger.log_error,
            pb_utils.Logger.log_verbose,
        ):
            log(f"{log.__name__}\n\udc80")
        pb_utils.Logger.log("plain")
        pb_utils.Logger.log("said as an error", pb_utils.Logger.ERROR)
        if "fail" in self._given:
            raise RuntimeError(self._given["fail"])
        if "exit" in self._given:
            raise SystemExit(3)

    def execute(self, requests):
        """One response a request."""
        return [_same(request) for request in requests]

    def finalize(self):
        """Says that it is over."""
        if "stay" in self._given:
            time.sleep(60)
        helper_beside.write(self._given["file"], "finalized")


def _same(request):
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("Y", pb_utils.get_input_tensor_by_name(request, "X").as_numpy())]
    )
