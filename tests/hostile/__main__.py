"""The corpus over and over: `python -m tests.hostile [ROUNDS]`. Ends with 1 where anything was wrong."""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import Server
from tests.hostile.corpus import corpus
from tests.hostile.scene import attacked, wrong
from tests.hostile.send import Wire

_WARM_UP = 3
_MOST_GROWTH = 0.05
"""Of resident memory. The least of several rounds is compared: an allocator keeps what the largest bodies took, for a
while, but what leaks never comes back."""
_EACH = 10


@dataclass(slots=True)
class Tally:
    """What was found. `memory`: resident, in MB, after each round."""

    sent: int = 0
    good: int = 0
    faults: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def attack(server: Server, rounds: int) -> Tally:
    """Sends the corpus `rounds` times, and good requests between."""
    wire, tally = Wire.to(server), Tally()
    for _ in range(rounds):
        for case in corpus():
            tally.sent += 1
            tally.faults += filter(None, [wire.fault(case)])
            if tally.sent % _EACH == 0:
                tally.good += 3
                tally.faults += filter(None, [wrong(wire, tally.sent)])
        tally.memory.append(resident(server))
        print(f"round {len(tally.memory)}: {len(tally.faults)} faults, {tally.memory[-1]:.1f} MB", flush=True)
    wire.close()
    return tally


def resident(server: Server) -> float:
    """Memory of the server's process, in MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def main(rounds: int) -> int:
    """Prints the outcome; gives the exit status."""
    with tempfile.TemporaryDirectory() as folder, attacked(Path(folder)) as server:
        tally = attack(server, _WARM_UP + rounds)
        crashed = server.process.poll() is not None
        errors = server.log.read_text().count('"level":"error"')
    warm, floor = min(tally.memory[:_WARM_UP]), min(tally.memory[-(rounds + 1) // 2 :])
    growth = floor / warm - 1
    print(*tally.faults[:50], sep="\n")
    print(
        f"{len(corpus())} cases, {tally.sent} hostile and {tally.good} good requests, {len(tally.faults)} faults, "
        f"{errors} errors in the log, crashed: {crashed}\nleast memory after a round: {warm:.1f} MB in the first "
        f"{_WARM_UP} rounds, {floor:.1f} MB in the last half of {rounds} more: {growth:+.1%} "
        f"(bound {_MOST_GROWTH:+.0%}), at most {max(tally.memory):.1f} MB"
    )
    return int(bool(tally.faults) or crashed or errors > 0 or growth > _MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
