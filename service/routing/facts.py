"""What the rules of a route read of a request. Free of work, but for the language, which is looked for when asked."""

from typing import Literal

from engines.generation import Chat, Prompt
from engines.tensor import Array
from service.generating import GenerateRequest
from service.routing.language import Detect
from service.types import Hints, InferRequest

Modality = Literal["text", "tensor", "image"]

_CHARACTERS_PER_TOKEN = 4
"""Of English text; a guess, as for texts that are not generated."""
_CHANNELS = (1, 3, 4)
_SMALLEST_SIDE = 8
"""Pixels; less is some other tensor of three dimensions."""
_FILE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
"""JPEG, PNG, WebP, GIF."""


class Facts:
    """`tokens`: about what the request costs, as `Intake.estimate` has it."""

    __slots__ = ("_detect", "_language", "hints", "modality", "priority", "text", "tokens")

    def __init__(self, request: InferRequest | GenerateRequest, tokens: int, detect: Detect) -> None:
        self.hints: Hints = request.hints
        self.priority = request.priority
        self.tokens = tokens
        if isinstance(request, GenerateRequest):
            self.modality: Modality = "text"
            self.text = _prompt_text(request.call.prompts[0]) if request.call.prompts else ""
        else:
            self.modality = _modality(request)
            self.text = _first_text(request) if self.modality == "text" else ""
        self._detect = detect
        self._language: str | None = None

    @property
    def language(self) -> str:
        """ISO 639 code of the first text, "" where there is none or it cannot be told."""
        if self._language is None:
            self._language = self._detect(self.text) if self.text else ""
        return self._language


def prompt_tokens(request: GenerateRequest) -> int:
    """About the tokens of the longest prompt, without work."""
    return max((_tokens(prompt) for prompt in request.call.prompts), default=1)


def _tokens(prompt: Prompt) -> int:
    match prompt:
        case str():
            return max(1, len(prompt) // _CHARACTERS_PER_TOKEN)
        case Chat(messages=messages):
            return max(1, sum(len(message.content) for message in messages) // _CHARACTERS_PER_TOKEN)
        case _:
            return len(prompt)


def _prompt_text(prompt: Prompt) -> str:
    match prompt:
        case str():
            return prompt
        case Chat(messages=messages):
            return next((message.content for message in reversed(messages) if message.role == "user"), "")
        case _:
            return ""


def _modality(request: InferRequest) -> Modality:
    found: Modality = "tensor"
    for array in request.inputs.values():
        if array.dtype == object:
            first = _first(array)
            return "image" if first.startswith(_FILE_STARTS) else "text"
        if _is_image(array):
            found = "image"
    return found


def _is_image(array: Array) -> bool:
    """[..., channels, height, width] or [..., height, width, channels]."""
    if array.ndim < 3:
        return False
    shape = array.shape[-3:]
    sides = shape[1:] if shape[0] in _CHANNELS else shape[:2] if shape[2] in _CHANNELS else (0, 0)
    return bool(min(sides) >= _SMALLEST_SIDE)


def _first_text(request: InferRequest) -> str:
    array = next(array for array in request.inputs.values() if array.dtype == object)
    return _first(array).decode("utf-8", "replace")


def _first(array: Array) -> bytes:
    first = array.flat[0] if array.size else b""
    return first if isinstance(first, bytes) else b""
