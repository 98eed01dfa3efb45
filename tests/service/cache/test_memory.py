"""What memory keeps: within its bound, for its time, and of the rest what saves most."""

import random

from service.cache.memory import ENTRY_BYTES, Memory

FOREVER = float("inf")
LARGE = 10_000


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def room_for(entries: int, size: int = LARGE) -> Memory[str]:
    return Memory(entries * (size + ENTRY_BYTES), Now())


def put(memory: Memory[str], name: str, cost: float = 1.0, size: int = LARGE) -> None:
    memory.put(name.encode(), name, size, cost, FOREVER)


def has(memory: Memory[str], names: str) -> str:
    return "".join(name for name in names if memory.get(name.encode()))


def test_a_value_counts_until_its_time() -> None:
    now = Now()
    memory: Memory[str] = Memory(LARGE, now)
    memory.put(b"a", "a", 10, 1.0, until=60.0)
    now.seconds = 59.9
    assert memory.get(b"a") == "a"
    now.seconds = 60.0
    assert memory.get(b"a") is None
    assert len(memory) == memory.bytes == 0


def test_the_oldest_makes_room_where_all_are_worth_the_same() -> None:
    memory = room_for(3)
    for name in "abcd":
        put(memory, name)
    assert has(memory, "abcd") == "bcd"
    assert memory.evictions == 1


def test_what_was_used_stays() -> None:
    memory = room_for(3)
    for name in "abc":
        put(memory, name)
    assert memory.get(b"a")
    put(memory, "d")
    assert has(memory, "abcd") == "acd"


def test_what_is_dear_stays_and_what_is_large_goes() -> None:
    memory = room_for(4)
    put(memory, "a", cost=10.0)
    put(memory, "b", cost=1.0, size=2 * LARGE)
    put(memory, "c", cost=1.0)
    put(memory, "d", cost=1.0)
    assert has(memory, "abcd") == "acd"


def test_what_was_dear_goes_too_once_nobody_asks_for_it() -> None:
    memory = room_for(2)
    put(memory, "a", cost=3.0)
    for number in range(8):
        put(memory, chr(ord("b") + number))
    assert not has(memory, "a")


def test_a_value_larger_than_everything_is_not_kept_and_drives_nothing_out() -> None:
    memory = room_for(2)
    put(memory, "a")
    put(memory, "b", size=3 * LARGE)
    assert has(memory, "ab") == "a"


def test_a_value_takes_the_place_of_the_one_before() -> None:
    memory = room_for(2)
    for _ in range(500):
        put(memory, "a")
    assert memory.bytes == LARGE + ENTRY_BYTES
    assert memory.evictions == 0
    assert len(memory._heap) < 100


def test_the_bound_holds_whatever_comes() -> None:
    random_ = random.Random(7)
    memory: Memory[str] = Memory(100_000, Now())
    for number in range(5000):
        name = str(random_.randrange(200)).encode()
        if random_.random() < 0.5:
            memory.get(name)
        else:
            memory.put(name, str(number), random_.randrange(20_000), random_.random(), FOREVER)
        assert memory.bytes <= 100_000
        assert memory.bytes == sum(entry.size for entry in memory._entries.values())
    assert len(memory._heap) <= 3 * len(memory) + 64


def test_it_evicts_as_the_plain_algorithm_would() -> None:
    """Against one that looks through all entries for the lowest rank."""
    random_ = random.Random(11)
    memory: Memory[str] = Memory(30 * (LARGE + ENTRY_BYTES), Now())
    plain: dict[bytes, list[float]] = {}
    age = 0.0
    for _ in range(3000):
        name = str(min(99, int(random_.expovariate(0.05)))).encode()
        if memory.get(name) is None:
            cost = 1 + int(name)
            worth = cost / (LARGE + ENTRY_BYTES)
            if len(plain) == 30:
                lowest = min(plain, key=lambda one: plain[one][0])
                age = plain.pop(lowest)[0]
            plain[name] = [age + worth, worth, 1]
            memory.put(name, "", LARGE, cost, FOREVER)
        else:
            entry = plain[name]
            entry[2] += 1
            entry[0] = age + entry[2] * entry[1]
        assert plain.keys() == memory._entries.keys()
