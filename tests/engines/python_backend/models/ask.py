"""TEXT = what `exec` of a question to the model MODEL brought, one string a response; X is passed on."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """MODEL BYTES [1], X FP32 [-1] -> TEXT BYTES [-1]; not batched."""

    def execute(self, requests):
        """One response a request."""
        return [pb_utils.InferenceResponse([_answer(request)]) for request in requests]


def _answer(request):
    name = pb_utils.get_input_tensor_by_name(request, "MODEL").as_numpy()[0].decode()
    if not name.startswith("ready"):
        return _texts(ask(request, name))
    try:
        found = pb_utils.is_model_ready(name), pb_utils.is_model_ready(name, "2")
    except pb_utils.TritonModelException as error:
        found = (error,)
    return pb_utils.Tensor("TEXT", np.array([str(each) for each in found], np.object_))


def ask(request, name):
    question = question_of(request, name)
    if not name.startswith("many"):
        return [question.exec()]
    answers = question.exec(decoupled=True)
    if name == "many, cancelled":
        first = next(answers)
        answers.cancel()
        return [first, *answers]
    if name == "many, twice":
        return [*answers, *answers]
    return list(answers)


def question_of(request, name):
    x = pb_utils.get_input_tensor_by_name(request, "X")
    return pb_utils.InferenceRequest(
        model_name=name,
        model_version=2,
        requested_output_names=["Y"],
        inputs=[x, pb_utils.Tensor("S", np.array(["\u00e9"], np.object_))],
        request_id="q",
        correlation_id="c",
        flags=pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
        timeout=5,
        parameters={"p": True},
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
        trace=request.trace(),
    )


def _texts(responses):
    return pb_utils.Tensor("TEXT", np.array([text(response) for response in responses], np.object_))


def text(response):
    if response.has_error():
        return f"{response.error().code().name}: {response.error().message()}"
    y = pb_utils.get_output_tensor_by_name(response, "Y")
    return "nothing" if y is None else f"{y.as_numpy().tolist()} {response.parameters()}"
