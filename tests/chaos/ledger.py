"""The book of one row: every request, how it ended, and what the server must have counted for it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.questions import Question


class Outcome(StrEnum):
    """How a request ended, as its caller sees it; each ends as exactly one of these.

    `CUT`: the connection closed without a whole answer. `HANG`: nothing came in time. `TWICE`: two answers, or bytes
    behind the answer.
    """

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "clean error"
    REFUSED = "refused"
    CUT = "cut"
    HANG = "hang"
    TWICE = "twice"


SUCCESS = "success"
_REASONS: Mapping[int, str] = {200: SUCCESS, 429: "REJECTED", 503: "REJECTED", 504: "REJECTED", 500: "BACKEND"}
"""The counter that a status goes to; all others go to OTHER."""
_OF_LEAVERS = (SUCCESS, "CANCELED")
"""Where a request may be counted whose caller hung up after sending it: answered, or dropped."""

Count = Counter[tuple[str, str]]
"""Requests by model and by how the server counted them: `success`, or the reason of the failure."""


@dataclass(slots=True)
class Entry:
    """One request. `outcome` None: it has not ended. `status`: of its first answer, 0 where there was none.

    `whole`: all of it was written to the connection. `left`: its caller hung up on purpose.
    """

    number: int
    question: Question
    outcome: Outcome | None = None
    status: int = 0
    whole: bool = False
    left: bool = False
    detail: str = ""
    seconds: float = 0.0

    @property
    def lost(self) -> bool:
        """The server owes its caller an answer, and nothing came, not even silence up to the end."""
        return self.outcome is None or (self.outcome is Outcome.CUT and not self.left)

    @property
    def expected(self) -> bool:
        """It ended as its row allows. No connection to a server that was told to stop is always allowed."""
        if self.outcome is Outcome.CUT:
            return self.left
        if self.outcome is Outcome.REFUSED and not self.status:
            return True
        return self.outcome in self.question.expects

    def __str__(self) -> str:
        told = f", {self.detail}" if self.detail else ""
        return f"request {self.number} to {self.question.model}: {self.outcome or 'no end'}, status {self.status}{told}"


@dataclass(slots=True)
class Ledger:
    """All requests of a row. `prefix` and a request's number are its id on the wire, which the server repeats."""

    prefix: str
    entries: list[Entry] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def open(self, question: Question) -> Entry:
        """A new request."""
        entry = Entry(len(self.entries), question)
        self.entries.append(entry)
        return entry

    def end(self, entry: Entry, outcome: Outcome, detail: str = "") -> None:
        """How a request ended; one that has ended already was answered twice."""
        entry.outcome = outcome if entry.outcome is None else Outcome.TWICE
        entry.detail = entry.detail or detail

    def again(self, request_id: str) -> None:
        """An answer, or bytes, that nobody waited for; `request_id`: whose answer it claims to be."""
        prefix, _, number = request_id.rpartition("-")
        if prefix == self.prefix and number.isdigit() and int(number) < len(self.entries):
            self.entries[int(number)].outcome = Outcome.TWICE
            self.entries[int(number)].detail = "a second answer, or bytes behind the answer"
        else:
            self.odd.append(f"an answer that nobody asked for: {request_id!r}")

    def id_of(self, entry: Entry) -> str:
        """What the request is called on the wire."""
        return f"{self.prefix}-{entry.number}"

    def count(self, outcome: Outcome) -> int:
        """Requests that ended so."""
        return sum(entry.outcome is outcome for entry in self.entries)

    @property
    def lost(self) -> Sequence[Entry]:
        """Requests without an end, or cut by the server."""
        return [entry for entry in self.entries if entry.lost]

    @property
    def surprises(self) -> Sequence[Entry]:
        """Requests that ended as they must not."""
        return [entry for entry in self.entries if not entry.expected]


def disagreements(ledger: Ledger, counted: Count) -> Iterator[str]:
    """Where the server's counters differ from the book, in words; nothing where they agree to the last request.

    Every answer was counted once, under the reason of its status. A request that was sent whole and whose caller hung
    up before the answer was counted at most once, as answered or as canceled: the server may not have begun it. What
    was not sent whole, or never connected, was not counted.
    """
    owed: Count = Counter()
    leavers: Counter[str] = Counter()
    for entry in ledger.entries:
        if entry.status:
            owed[entry.question.model, _REASONS.get(entry.status, "OTHER")] += 1
        elif entry.whole and entry.left:
            leavers[entry.question.model] += 1
    for model, reason in sorted(owed.keys() | counted.keys()):
        more = counted[model, reason] - owed[model, reason]
        if more < 0 or (more > 0 and reason not in _OF_LEAVERS):
            yield f"{model} {reason}: the server counted {counted[model, reason]}, callers saw {owed[model, reason]}"
    for model in sorted({model for model, _ in counted}):
        more = sum(counted[model, reason] - owed[model, reason] for reason in _OF_LEAVERS)
        if more > leavers[model]:
            yield f"{model}: the server counted {more} more than callers saw, {leavers[model]} callers hung up"
