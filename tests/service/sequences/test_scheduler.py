"""The scheduler of sequences, driven by numbers: turns, slots, the backlog, and how sequences end."""

from concurrent.futures import Future

import pytest

from service.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    QueueFullError,
    RetryLaterError,
    SequenceLostError,
)
from service.sequences.scheduler import Scheduler
from service.sequences.turns import Place, Sequence, Turn
from service.types import SequenceStep


class Setting:
    """A scheduler and its time, moved by the test."""

    def __init__(self, instances: int = 1, slots: int = 2, max_idle: float = 10.0, max_waiting: int = 100) -> None:
        self.now = 0.0
        self.broken: set[int] = set()
        self.scheduler = Scheduler(
            "m", instances, slots, max_idle, max_waiting, lambda instance: instance not in self.broken
        )

    def enter(self, name: int | str, flags: str = "", owner: str = "") -> "Entered":
        """`flags`: "s" starts, "e" ends."""
        future: Future[Place] = Future()
        turn = Turn(SequenceStep(name, "s" in flags, "e" in flags), future, owner)
        return Entered(self, self.scheduler.enter(turn), turn, future)

    def expire(self) -> None:
        self.scheduler.expire(self.now)


class Entered:
    def __init__(self, setting: Setting, sequence: Sequence, turn: Turn, future: "Future[Place]") -> None:
        self._setting, self.sequence, self.turn, self.future = setting, sequence, turn, future

    @property
    def place(self) -> tuple[int, int] | None:
        return tuple(self.future.result(0)) if self.future.done() else None

    def done(self) -> None:
        self._setting.scheduler.done(self.sequence, self.turn, self._setting.now)

    def lost(self) -> None:
        self._setting.scheduler.lost(self.sequence, self.turn, self._setting.now)

    def refused(self) -> None:
        error = RetryLaterError("busy", 1.0)
        self._setting.scheduler.refused(self.sequence, self.turn, error, self._setting.now)

    def fails_with(self, kind: type[Exception]) -> bool:
        return self.future.done() and isinstance(self.future.exception(0), kind)


def test_requests_of_one_sequence_run_one_after_the_other() -> None:
    setting = Setting()
    first, second, third = setting.enter(1, "s"), setting.enter(1), setting.enter(1, "e")
    assert (first.place, second.place, third.place) == ((0, 0), None, None)
    first.done()
    assert (second.place, third.place) == ((0, 0), None)
    second.done()
    assert third.place == (0, 0)
    assert setting.scheduler.waiting == 0
    third.done()
    assert setting.scheduler.quiet


def test_sequences_take_the_lowest_free_slot_of_all_instances() -> None:
    setting = Setting(instances=2, slots=2)
    entered = [setting.enter(name, "s") for name in range(1, 5)]
    assert [one.place for one in entered] == [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_instances_that_cannot_answer_get_no_new_sequences_while_others_can() -> None:
    setting = Setting(instances=2, slots=2)
    setting.broken.add(0)
    assert [setting.enter(name, "s").place for name in (1, 2, 3)] == [(1, 0), (1, 1), (0, 0)]


def test_a_sequence_without_a_slot_waits_until_one_ends() -> None:
    setting = Setting(slots=1)
    first, waits, behind = setting.enter(1, "s"), setting.enter(2, "s"), setting.enter(2, "e")
    first.done()
    assert waits.place is None, "sequence 1 is idle, and keeps its slot"
    last = setting.enter(1, "e")
    last.done()
    assert (waits.place, behind.place) == ((0, 0), None)
    waits.done()
    assert behind.place == (0, 0)


def test_the_backlog_is_first_come_first_served() -> None:
    setting = Setting(slots=1)
    first = setting.enter(1, "se")
    second, third = setting.enter(2, "se"), setting.enter(3, "se")
    first.done()
    assert (second.place, third.place) == ((0, 0), None)


@pytest.mark.parametrize("name", [7, "seven"])
def test_a_sequence_that_was_not_started_is_refused_in_tritons_words(name: int | str) -> None:
    setting = Setting()
    with pytest.raises(InvalidRequestError, match=f"sequence {name!r} of model 'm' is unknown") as caught:
        setting.enter(name)
    assert caught.value.triton == (
        f"inference request for sequence {name} to model 'm' must specify the START flag on the first request of the "
        "sequence"
    )
    assert setting.scheduler.quiet


def test_an_id_that_is_a_number_and_one_that_is_a_string_are_two() -> None:
    setting = Setting()
    assert setting.enter(1, "s").place == (0, 0)
    assert setting.enter("1", "s").place == (0, 1)


def test_after_its_end_a_sequence_is_unknown_and_may_start_again() -> None:
    setting = Setting()
    last = setting.enter(1, "se")
    with pytest.raises(InvalidRequestError):
        setting.enter(1)
    again = setting.enter(1, "s")
    assert again.place is None, "the old one still runs"
    last.done()
    assert again.place == (0, 0)
    again.done()
    assert setting.enter(1).place == (0, 0)


def test_what_starts_again_after_its_end_waits_behind_those_that_wait_for_a_slot() -> None:
    setting = Setting(slots=1)
    last = setting.enter(1, "se")
    other = setting.enter(2, "se")
    again = setting.enter(1, "se")
    last.done()
    assert (other.place, again.place) == ((0, 0), None)
    other.done()
    assert again.place == (0, 0)


def test_a_start_on_a_running_sequence_begins_it_anew_in_its_slot() -> None:
    setting = Setting()
    first, second, anew = setting.enter(1, "s"), setting.enter(1), setting.enter(1, "s")
    first.done()
    second.done()
    assert anew.place == (0, 0)
    assert anew.sequence is first.sequence


def test_an_idle_sequence_is_ended_and_its_slot_goes_to_the_next() -> None:
    setting = Setting(slots=1, max_idle=10.0)
    setting.enter(1, "s").done()
    waits = setting.enter(2, "s")
    assert setting.scheduler.expires == 10.0
    setting.now = 9.9
    setting.expire()
    assert waits.place is None
    setting.now = 10.0
    setting.expire()
    assert waits.place == (0, 0)
    assert setting.scheduler.expires is None
    with pytest.raises(InvalidRequestError):
        setting.enter(1)


def test_every_request_starts_the_idle_time_again() -> None:
    setting = Setting(max_idle=10.0)
    setting.enter(1, "s").done()
    setting.now = 6.0
    setting.enter(2, "s").done()
    setting.now = 8.0
    setting.enter(1).done()
    assert setting.scheduler.expires == 16.0
    setting.now = 17.0
    setting.expire()
    assert setting.scheduler.expires == 18.0
    assert setting.enter(1).place == (0, 0)


def test_a_running_request_is_not_idle_however_long_it_takes() -> None:
    setting = Setting(max_idle=1.0)
    first = setting.enter(1, "s")
    setting.now = 100.0
    setting.expire()
    first.done()
    assert setting.enter(1).place == (0, 0)


def test_a_request_given_up_before_its_turn_ends_its_sequence() -> None:
    setting = Setting(slots=1)
    first, gone, behind = setting.enter(1, "s"), setting.enter(1), setting.enter(1, "e")
    waits = setting.enter(2, "s")
    gone.turn.fail(DeadlineExceededError("late"))
    gone.lost()
    assert behind.fails_with(SequenceLostError)
    behind.lost()
    with pytest.raises(InvalidRequestError):
        setting.enter(1)
    assert waits.place is None, "the first still runs"
    first.done()
    assert waits.place == (0, 0)


def test_what_starts_anew_behind_a_request_that_was_given_up_is_not_harmed() -> None:
    setting = Setting()
    first, gone, behind, anew, more = (setting.enter(1, flags) for flags in ("s", "", "", "s", ""))
    gone.lost()
    assert behind.fails_with(SequenceLostError)
    first.done()
    assert anew.place == (0, 0)
    anew.done()
    assert more.place == (0, 0)
    more.done()
    assert setting.enter(1).place == (0, 0)


def test_a_first_request_given_up_in_the_backlog_leaves_nothing_behind() -> None:
    setting = Setting(slots=1)
    running = setting.enter(1, "se")
    gone = setting.enter(2, "s")
    gone.lost()
    gone.lost()
    running.done()
    assert setting.scheduler.quiet
    assert setting.enter(3, "s").place == (0, 0)


def test_a_request_given_up_just_when_its_turn_came_frees_the_place() -> None:
    setting = Setting(slots=1)
    gone, waits = setting.enter(1, "s"), setting.enter(2, "s")
    assert gone.place == (0, 0)
    gone.lost()
    assert waits.place == (0, 0)


def test_a_caller_that_left_is_passed_over_once_it_says_so() -> None:
    setting = Setting()
    first, left = setting.enter(1, "s"), setting.enter(1)
    assert left.future.cancel()
    first.done()
    left.lost()
    assert setting.scheduler.quiet


def test_a_refused_request_may_be_sent_again_and_those_behind_it_too() -> None:
    setting = Setting()
    setting.enter(1, "s").done()
    refused, behind = setting.enter(1), setting.enter(1, "e")
    refused.refused()
    assert behind.fails_with(RetryLaterError)
    behind.lost()
    assert setting.enter(1).place == (0, 0)


def test_a_refused_first_request_starts_nothing() -> None:
    setting = Setting(slots=1)
    first, waits = setting.enter(1, "s"), setting.enter(2, "s")
    first.refused()
    assert waits.place == (0, 0)
    with pytest.raises(InvalidRequestError):
        setting.enter(1)


def test_the_requests_that_may_wait_are_bounded() -> None:
    setting = Setting(slots=1, max_waiting=2)
    running = setting.enter(1, "s")
    waiting = [setting.enter(1), setting.enter(2, "s")]
    assert setting.scheduler.waiting == 2
    with pytest.raises(QueueFullError, match="2 requests of sequences wait, 2 may"):
        setting.enter(3, "s")
    running.done()
    assert waiting[0].place == (0, 0)
    setting.enter(3, "s")


def test_a_full_backlog_does_not_keep_those_that_have_a_slot_from_ending() -> None:
    setting = Setting(slots=1, max_waiting=2)
    setting.enter(1, "s").done()
    waiting = [setting.enter(name, "se") for name in (2, 3)]
    assert setting.scheduler.sequences == (1, 2)
    with pytest.raises(QueueFullError):
        setting.enter(4, "s")
    last = setting.enter(1, "e")
    assert last.place == (0, 0)
    with pytest.raises(QueueFullError):
        setting.enter(1, "s")
    last.done()
    assert [one.place for one in waiting] == [(0, 0), None]
    assert setting.scheduler.sequences == (1, 1)


def test_who_closes_ends_idle_sequences_and_gives_up_what_waits() -> None:
    setting = Setting(slots=1)
    setting.enter(1, "s").done()
    second, behind, third = setting.enter(2, "s"), setting.enter(2), setting.enter(3, "s")
    setting.scheduler.hurry()
    setting.expire()
    assert second.place == (0, 0)
    setting.scheduler.give_up(lambda: RetryLaterError("closed", 0.0))
    assert behind.fails_with(RetryLaterError)
    assert third.fails_with(RetryLaterError)
    assert second.place == (0, 0)


def test_tenants_have_sequences_of_their_own() -> None:
    setting = Setting(slots=2)
    first = setting.enter(1, "s", owner="a")
    with pytest.raises(InvalidRequestError, match="sequence 1 of model 'm' is unknown"):
        setting.enter(1, owner="b")
    second = setting.enter(1, "s", owner="b")
    assert first.place != second.place
    first.done()
    setting.enter(1, "e", owner="a").done()
    second.done()
    assert setting.enter(1, owner="b").sequence is second.sequence
