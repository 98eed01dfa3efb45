"""A packed text encoder of the BERT family in torch. See `engines.batch.Packed` for its inputs and output."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.encoder_source import EncoderSource
from engines.errors import EngineMemoryError, ExecutionError
from engines.model_config import Precision, segments_of
from engines.tensor import Array
from engines.torch_int8 import Int8Linear

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.float32}
_SMALLEST_NORM = 1e-12


class _Source:
    """Makes torch layers from the weights of `source`, at `precision`."""

    def __init__(self, source: EncoderSource, precision: Precision) -> None:
        self.source = source
        self._precision = precision

    def tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, dtype=_DTYPES[self._precision])

    def weight(self, name: str) -> Tensor:
        return self.tensor(self.source.weights.get(name))

    def linear(self, *names: str) -> nn.Module:
        """One linear layer; of several names, their outputs side by side."""
        weight = torch.cat([self.weight(f"{name}.weight") for name in names])
        bias = torch.cat([self.weight(f"{name}.bias") for name in names])
        return Int8Linear(weight, bias) if self._precision == "int8" else _Linear(weight, bias)

    def norm(self, name: str) -> "_Norm":
        return _Norm(self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), self.source.epsilon)

    def activation(self) -> nn.Module:
        match self.source.activation:
            case "gelu":
                return nn.GELU()
            case "gelu_tanh":
                return nn.GELU(approximate="tanh")
            case "relu":
                return nn.ReLU()


class _Linear(nn.Module):
    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight, self.bias)


class _Norm(nn.Module):
    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._epsilon = epsilon

    def forward(self, values: Tensor) -> Tensor:
        return functional.layer_norm(values, self.weight.shape, self.weight, self.bias, self._epsilon)


class _Layer(nn.Module):
    def __init__(self, make: _Source, number: int) -> None:
        super().__init__()
        family = make.source.family
        prefix = f"{family.layer}{number}."
        self._heads = make.source.heads
        self.query_key_value = make.linear(prefix + family.query, prefix + family.key, prefix + family.value)
        self.attended = make.linear(prefix + family.attended)
        self.attended_norm = make.norm(prefix + family.attended_norm)
        self.up = make.linear(prefix + family.up)
        self.activation = make.activation()
        self.down = make.linear(prefix + family.down)
        self.down_norm = make.norm(prefix + family.down_norm)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        rows, width, size = hidden.shape
        split = self.query_key_value(hidden).view(rows, width, 3, self._heads, size // self._heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = self.attended(context.transpose(1, 2).reshape(rows, width, size))
        hidden = self.attended_norm(attended + hidden)
        answer: Tensor = self.down_norm(self.down(self.activation(self.up(hidden))) + hidden)
        return answer


class PackedEncoder(nn.Module):
    """The encoder in `source`. Linear layers of precision int8 are quantised here, as it is made."""

    words: Tensor
    positions: Tensor

    def __init__(self, source: EncoderSource, precision: Precision) -> None:
        super().__init__()
        make = _Source(source, precision)
        self._pooling = source.pooling
        self._normalise = source.normalise
        self.register_buffer("words", make.weight("embeddings.word_embeddings.weight"))
        self.register_buffer("positions", make.tensor(source.positions))
        self.norm = make.norm("embeddings.LayerNorm")
        self.layers = nn.ModuleList(_Layer(make, number) for number in range(source.layers))

    def forward(self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor) -> Tensor:
        """INT64 [rows, width] each; returns FP32 [rows, width // 4, hidden]."""
        for hidden in self.states(input_ids, position_ids, segment_ids):
            last = hidden
        return self.pooled(last.float(), position_ids, segment_ids)

    def states(self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor) -> Iterator[Tensor]:
        """The hidden state [rows, width, hidden] below the first layer, then the one above each layer."""
        hidden = functional.embedding(input_ids, self.words) + functional.embedding(position_ids, self.positions)
        hidden = self.norm(hidden)
        yield hidden
        mask = (segment_ids[:, :, None] == segment_ids[:, None, :]).unsqueeze(1)
        for layer in self.layers:
            hidden = layer(hidden, mask)
            yield hidden

    @torch.inference_mode()
    def encode(self, arrays: Sequence[Array], threads: int) -> Array:
        """Runs token, position and segment ids, INT64 [rows, width]; returns FP32 [rows, width // 4, hidden].

        `threads` holds for the calling thread: OpenMP keeps its count for each thread. Raises `ExecutionError`.
        """
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        device = self.words.device
        try:
            answer = self.forward(*(torch.tensor(array, device=device) for array in arrays))
            return answer.cpu().numpy()
        except Exception as error:  # whatever torch raises, callers of an engine see its own errors only
            reason = " ".join(str(error).split())
            if _is_memory(error):
                raise EngineMemoryError(f"torch ran out of memory on {device}: {reason}") from error
            raise ExecutionError(f"torch failed on {device}: {reason}") from error

    def pooled(self, hidden: Tensor, position_ids: Tensor, segment_ids: Tensor) -> Tensor:
        """FP32 [rows, width // 4, hidden] of the last hidden state, FP32."""
        segments = segments_of(segment_ids.shape[1])
        numbers = torch.arange(segments, device=segment_ids.device)
        members = segment_ids[:, None, :] == numbers[:, None]
        if self._pooling == "cls":
            members &= (position_ids == 0)[:, None, :]
        counted = members.float()
        total = torch.bmm(counted, hidden)
        if self._normalise:
            return functional.normalize(total, dim=-1, eps=_SMALLEST_NORM)
        return total / counted.sum(-1, keepdim=True).clamp_min(1)


def load_encoder(source: EncoderSource, precision: Precision, device: str) -> PackedEncoder:
    """The encoder on `device`, ready to run."""
    return PackedEncoder(source, precision).to(device).eval()


def cuda_devices() -> int:
    """How many CUDA devices this torch can use."""
    return torch.cuda.device_count()


def _is_memory(error: Exception) -> bool:
    """The CPU allocator has no error type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
