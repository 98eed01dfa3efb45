"""Which tokens of a prompt an engine with prefix caching holds already, for engines that do not tell.

It mirrors the table of OpenVINO GenAI: blocks of tokens, each known by its own tokens and all before it, full ones and
the last one of a finished sequence. The least recently used go first where there are more than the cache holds.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence

BlockKey = int


class PrefixIndex:
    """`block`: tokens of a block. `capacity`: blocks that the cache holds."""

    def __init__(self, block: int, capacity: int) -> None:
        self.block = block
        self._capacity = capacity
        self._blocks: OrderedDict[BlockKey, None] = OrderedDict()
        self._used: Counter[BlockKey] = Counter()

    def begin(self, prompt: Sequence[int]) -> "PrefixTrail":
        """Looks a prompt up when the engine takes it."""
        keys: list[BlockKey] = []
        reused, before = 0, 0
        for start in range(0, len(prompt), self.block):
            key = _key(before, prompt[start : start + self.block])
            if key in self._blocks:
                before = key
                keys.append(key)
                reused = min(start + self.block, len(prompt))
                continue
            part = self._part_of(before, prompt, start)
            if part:
                keys.append(_key(before, prompt[start : start + part]))
                reused = start + part
            break
        for key in keys:
            self.hold(key)
        partial = keys[-1] if reused % self.block else None
        return PrefixTrail(self, prompt, keys, min(reused, len(prompt) - 1), partial)

    def _part_of(self, before: BlockKey, prompt: Sequence[int], start: int) -> int:
        """Tokens of the block at `start` that end a sequence held here; the engine takes the shortest, too."""
        most = min(self.block, len(prompt) - start)
        return next((n for n in range(1, most) if _key(before, prompt[start : start + n]) in self._blocks), 0)

    def hold(self, key: BlockKey) -> None:
        """A sequence uses this block from now on."""
        self._blocks[key] = None
        self._blocks.move_to_end(key)
        self._used[key] += 1
        if len(self._blocks) > self._capacity:
            oldest = next((one for one in self._blocks if not self._used[one]), None)
            if oldest is not None:
                del self._blocks[oldest]

    def outgrow(self, key: BlockKey) -> None:
        """A sequence writes on in this block, which is another one then, unless others use it as it is."""
        if self._used[key] <= 1:
            self._blocks.pop(key, None)

    def clear(self) -> None:
        """The engine lost all it held."""
        self._blocks.clear()
        self._used.clear()

    def release(self, keys: Sequence[BlockKey]) -> None:
        """A sequence is over; its blocks stay until others need the room."""
        for key in keys:
            self._used[key] -= 1
            if not self._used[key]:
                del self._used[key]


class PrefixTrail:
    """The blocks of one sequence. `cached_tokens`: of its prompt, those that need not be computed.

    `partial`: the last of `keys` where it is not a full block.
    """

    __slots__ = ("_before", "_index", "_keys", "_partial", "_prompt", "_tail", "cached_tokens")

    def __init__(
        self,
        index: PrefixIndex,
        prompt: Sequence[int],
        keys: list[BlockKey],
        cached_tokens: int,
        partial: BlockKey | None,
    ) -> None:
        self.cached_tokens = cached_tokens
        self._index = index
        self._keys = keys
        self._partial = partial
        self._prompt: Sequence[int] = prompt
        self._before = 0
        self._tail: list[int] = []

    def computed(self) -> None:
        """The whole prompt went through the engine."""
        prompt, self._prompt = self._prompt, ()
        self._advance(prompt)

    def grow(self, token: int) -> None:
        """A generated token went through the engine: all but the last one do."""
        if self._partial is not None:
            self._index.outgrow(self._partial)
            self._partial = None
        self._advance((token,))

    def _advance(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._tail.append(token)
            if len(self._tail) == self._index.block:
                self._hold_tail()
                self._before, self._tail = _key(self._before, self._tail), []

    def _hold_tail(self) -> None:
        key = _key(self._before, self._tail)
        self._index.hold(key)
        self._keys.append(key)

    def end(self) -> None:
        """The sequence left the engine."""
        if self._tail:
            self._hold_tail()
        self._index.release(self._keys)
        self._keys = []


def _key(before: BlockKey, tokens: Sequence[int]) -> BlockKey:
    return hash((before, *tokens))
