"""An INT8 linear layer whose answers do not depend on batch mates.

Weights have a scale for each output, activations one for each token, found when it runs. torch's own dynamic
quantisation takes one scale for all activations of a batch, so that a neighbour's outlier changes everyone's answer,
and by default one for all weights (MiniLM, random tokens: cosine to fp32 0.87, here 0.99); it is also deprecated.
Source: T. Dettmers et al., "LLM.int8()", arXiv:2208.07339 (there called vector-wise quantisation).
"""

import torch
from torch import Tensor, nn

_MOST = 127
_SMALLEST_SCALE = 1e-12
_TOKENS_AT_ONCE = 256
"""Keeps the temporaries in the cores' caches: 1,024 tokens in one piece take up to ten times as long."""


class Int8Linear(nn.Module):
    """A linear layer over FP32 [..., in], from FP32 `weight` [out, in] and `bias` [out]; CPU only."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        scale = weight.abs().amax(1).clamp_min(_SMALLEST_SCALE) / _MOST
        self.register_buffer("weight", torch.round(weight / scale[:, None]).to(torch.int8).t())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, values: Tensor) -> Tensor:
        tokens = values.reshape(-1, values.shape[-1])
        answer = tokens.new_empty(len(tokens), len(self.bias))
        for start in range(0, len(tokens), _TOKENS_AT_ONCE):
            part, out = tokens[start : start + _TOKENS_AT_ONCE], answer[start : start + _TOKENS_AT_ONCE]
            scale = part.abs().amax(1, keepdim=True).clamp_min_(_SMALLEST_SCALE).div_(_MOST)
            product = torch._int_mm(torch.round(part / scale).to(torch.int8), self.weight)
            torch.mul(product, scale, out=out).mul_(self.scale).add_(self.bias)
        return answer.view(*values.shape[:-1], -1)
