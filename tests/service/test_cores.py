from threading import Event, Thread
from time import sleep

from service.cores import CoreBudget


def test_what_needs_no_cores_waits_for_nobody() -> None:
    budget = CoreBudget(2)
    budget.acquire(1)
    wide = Thread(target=budget.acquire, args=(2,))
    wide.start()
    passed = Event()
    while not budget._queue:
        sleep(0.001)

    def run_on_a_device() -> None:
        budget.acquire(0)
        passed.set()

    Thread(target=run_on_a_device, daemon=True).start()
    assert passed.wait(10)
    budget.release(1)
    wide.join(10)
    assert not wide.is_alive()


def test_who_is_alone_on_the_cores_is_told() -> None:
    budget = CoreBudget(2)
    budget.acquire(1)
    assert budget.is_only(1)
    budget.acquire(1)
    assert not budget.is_only(1)
    budget.release(1)
    assert budget.is_only(1)
