"""An infer answer onto the wire."""

import orjson

from engines.tensor import data_type_of, encode_raw
from service.api.classification import output_of
from service.api.errors import OK
from service.api.json_tensors import NonFinite, encode_data, quoted
from service.api.reply import BINARY_TYPE, JSON_TYPE, Reply
from service.api.v2_request import Wanted
from service.types import InferResponse


def encode_response(response: InferResponse, request_id: str, wanted: Wanted, non_finite: NonFinite = quoted) -> Reply:
    """The answer as the caller wants it, without what headers tell of it. `non_finite`: see `encode_data`.

    Outputs in binary lie behind the JSON in its order. Raises `InvalidRequestError` for an output that is not there.
    """
    outputs: list[dict[str, object]] = []
    blobs: list[bytes] = []
    for name, how in (wanted.outputs or dict.fromkeys(response.outputs, wanted.default)).items():
        array = output_of(response, name)
        item: dict[str, object] = {"name": name, "datatype": data_type_of(array).name, "shape": array.shape}
        if how.binary:
            blob = encode_raw(array)
            blobs.append(blob)
            item["parameters"] = {"binary_data_size": len(blob)}
        else:
            item["data"] = encode_data(array, name, non_finite)
        outputs.append(item)
    message: dict[str, object] = {"model_name": response.model, "model_version": response.version}
    if request_id:
        message["id"] = request_id
    if response.parameters:
        message["parameters"] = dict(response.parameters)
    message["outputs"] = outputs
    head = orjson.dumps(message)
    if not blobs:
        return Reply(OK, head, [JSON_TYPE])
    length = (b"inference-header-content-length", b"%d" % len(head))
    return Reply(OK, b"".join([head, *blobs]), [BINARY_TYPE, length])
