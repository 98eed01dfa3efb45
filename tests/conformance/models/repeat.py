"""Decoupled: one response an element of IN, the i-th after DELAY[i] ms: OUT = IN[i], IDX = i.

`execute` returns after WAIT ms, whatever is still to be sent.
"""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """IN INT32 [n], DELAY UINT32 [n], WAIT UINT32 [1] -> OUT INT32 [1], IDX UINT32 [1]; not batched."""

    def initialize(self, args):
        """Knows no senders yet."""
        self._senders = []

    def execute(self, requests):
        """Hands each request to a thread of its own, which goes on after this returns."""
        for request in requests:
            values, delays, wait = (_values(request, name) for name in ("IN", "DELAY", "WAIT"))
            arguments = (request.get_response_sender(), values, delays)
            sender = threading.Thread(target=_send, args=arguments, daemon=True)
            sender.start()
            self._senders = [each for each in self._senders if each.is_alive()] + [sender]
            time.sleep(wait[0] / 1000)

    def finalize(self):
        """Waits until everything is sent."""
        for sender in self._senders:
            sender.join()


def _values(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy()


def _send(sender, values, delays):
    for index, (value, delay) in enumerate(zip(values, delays, strict=True)):
        time.sleep(delay / 1000)
        outputs = [
            pb_utils.Tensor("OUT", np.array([value], np.int32)),
            pb_utils.Tensor("IDX", np.array([index], np.uint32)),
        ]
        sender.send(pb_utils.InferenceResponse(outputs))
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
