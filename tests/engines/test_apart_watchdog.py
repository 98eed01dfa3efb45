import pytest

from engines.apart_watchdog import UNMEASURED_SECONDS, Watchdog


@pytest.mark.parametrize(
    ("watchdog", "elements", "seconds"),
    [
        (Watchdog(0.25, seconds=9.0, elements=10), 1_000, 0.25),
        (Watchdog(), 1_000, UNMEASURED_SECONDS),
        (Watchdog(seconds=0.001, elements=10), 10, 1.0),
        (Watchdog(seconds=0.5, elements=10), 10, 10.0),
        (Watchdog(seconds=0.5, elements=10), 1, 10.0),
        (Watchdog(seconds=0.5, elements=10), 40, 40.0),
    ],
    ids=["configured", "unmeasured", "at least a second", "20 times", "a smaller batch", "a larger batch"],
)
def test_what_a_batch_may_take(watchdog: Watchdog, elements: int, seconds: float) -> None:
    assert watchdog.allowed(elements) == pytest.approx(seconds)
