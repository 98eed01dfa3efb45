"""Between embeddings requests and a model's tensors."""

from collections.abc import Iterator, Sequence

import numpy as np

from engines.tensor import BYTES, FP32, INT32, INT64, Array, Signature, TensorSpec
from service.api.openai_input import TextInput
from service.errors import InvalidRequestError


def embedding_output(model: str, signature: Signature) -> TensorSpec:
    """The FP32 output that holds one vector a text: the one named `embedding`, else the only one there is.

    Raises `InvalidRequestError` where the model has none.
    """
    vectors = [spec for spec in signature.outputs if spec.datatype is FP32 and len(spec.shape) == 1]
    named = [spec for spec in vectors if spec.name == "embedding"]
    found = named or vectors
    if len(found) != 1:
        raise InvalidRequestError(
            f"model {model!r} gives no embeddings: it needs an FP32 output 'embedding' of one dimension, it has "
            + ", ".join(f"{spec.name} {spec.datatype}{list(spec.shape)}" for spec in signature.outputs),
            "model",
        )
    return found[0]


def embedding_tensors(model: str, signature: Signature, given: TextInput) -> Iterator[tuple[str, Array]]:
    """Input name and tensor of each request: texts in batches that the model takes, each list of token ids alone."""
    if given.texts:
        spec = _input(model, signature, "text", (BYTES,))
        step = _texts_per_request(spec, signature, len(given.texts))
        for start in range(0, len(given.texts), step):
            yield spec.name, _text_tensor(given.texts[start : start + step], _rank(spec, signature))
        return
    spec = _input(model, signature, "input_ids", (INT64, INT32))
    for tokens in given.tokens:
        array = np.array(tokens, spec.datatype.numpy)
        yield spec.name, array if _rank(spec, signature) == 1 else array.reshape(1, -1)


def _input(model: str, signature: Signature, name: str, datatypes: tuple[object, ...]) -> TensorSpec:
    for spec in signature.inputs:
        if spec.name == name and spec.datatype in datatypes:
            return spec
    wanted = " or ".join(str(datatype) for datatype in datatypes)
    takes = ", ".join(f"{spec.name} {spec.datatype}" for spec in signature.inputs)
    raise InvalidRequestError(
        f"this input needs a model with input {name!r} of {wanted}; {model!r} takes {takes}", "input"
    )


def _rank(spec: TensorSpec, signature: Signature) -> int:
    return len(spec.shape) + (signature.max_batch_size > 0)


def _texts_per_request(spec: TensorSpec, signature: Signature, texts: int) -> int:
    if signature.max_batch_size:
        return signature.max_batch_size
    return texts if spec.shape[:1] == (-1,) else 1


def _text_tensor(texts: Sequence[str], rank: int) -> Array:
    items = np.empty(len(texts), BYTES.numpy)
    for index, text in enumerate(texts):
        items[index] = text.encode()
    return items if rank == 1 else items.reshape(-1, 1)


def check_dimensions(dimensions: int | None, size: int) -> None:
    """Raises `InvalidRequestError` where more `dimensions` are asked for than the model has (-1: not known yet)."""
    if dimensions is not None and dimensions > size >= 0:
        raise InvalidRequestError(f"dimensions is {dimensions}, the model's embeddings have {size}", "dimensions")


def shorten(vectors: Array, dimensions: int | None) -> Array:
    """The first `dimensions` of each of [n, d] vectors, scaled to length 1 again; all where None."""
    size = vectors.shape[1]
    if dimensions is None or dimensions == size:
        return vectors
    check_dimensions(dimensions, size)
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: Array = np.divide(cut, lengths, out=np.zeros_like(cut), where=lengths > 0)
    return shortened
