"""Decoupled: N responses, Y = 0, 1, ..., from another thread; HOW says what is different."""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class TritonPythonModel:
    """N INT32 [1], HOW BYTES [1] -> Y INT32 [1]; not batched."""

    def initialize(self, args):
        """Knows no thread yet."""
        self._threads = []

    def execute(self, requests):
        """Hands each request to a thread, and returns None."""
        for request in requests:
            count, how = (pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0] for name in ("N", "HOW"))
            sender = request.get_response_sender()
            if how == b"raise":
                sender.send(_response(0))
                raise ValueError("told to raise")
            if how == b"return":
                return [_response(0)]
            thread = threading.Thread(target=_send, args=(sender, count, how), daemon=True)
            thread.start()
            self._threads.append(thread)
        return None

    def finalize(self):
        """Waits until everything is sent."""
        for thread in self._threads:
            thread.join()


def _send(sender, count, how):
    for value in range(count):
        if how == b"error" and value == 1:
            sender.send(pb_utils.InferenceResponse(error=pb_utils.TritonError("enough")))
        if how == b"until cancelled":
            while not sender.is_cancelled():
                time.sleep(0.002)
            sender.send(
                pb_utils.InferenceResponse(error=pb_utils.TritonError("cancelled", pb_utils.TritonError.CANCELLED)),
                FINAL,
            )
            return
        if how == b"final with the last" and value == count - 1:
            sender.send(_response(value), FINAL)
            return
        sender.send(_response(value))
    if how == b"twice":
        sender.send(flags=FINAL)
        try:
            sender.send(_response(9))
        except pb_utils.TritonModelException as error:
            pb_utils.Logger.log_warn(str(error))
        return
    if how == b"hold":
        _HELD.append(sender)
    elif how != b"drop":
        sender.send(flags=FINAL)


_HELD = []


def _response(value):
    return pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([value], np.int32))])
