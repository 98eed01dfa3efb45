"""Y = X of any number of rows; config.pbtxt needs to say nothing but the backend."""

import json

import triton_python_backend_utils as pb_utils

NAMES = ("X", "Y")


class TritonPythonModel:
    """X FP32 [-1] -> Y FP32 [-1]; batched."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config):
        """Adds everything."""
        parameters = auto_complete_model_config.as_dict()["parameters"]
        if "return" in parameters:
            return parameters["return"]["string_value"]
        tensor = {"data_type": "TYPE_FP32", "dims": [-1]}
        auto_complete_model_config.add_input({"name": NAMES[0], "optional": True, **tensor})
        auto_complete_model_config.add_output({"name": NAMES[1], **tensor})
        if "wrong" in parameters:
            auto_complete_model_config.add_output(json.loads(parameters["wrong"]["string_value"]))
        auto_complete_model_config.set_max_batch_size(4)
        auto_complete_model_config.set_dynamic_batching()
        if "decoupled" in parameters:
            auto_complete_model_config.set_model_transaction_policy({"decoupled": True})
        return auto_complete_model_config

    def execute(self, requests):
        """One response a request."""
        x, y = NAMES
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(y, pb_utils.get_input_tensor_by_name(request, x).as_numpy())])
            for request in requests
        ]
