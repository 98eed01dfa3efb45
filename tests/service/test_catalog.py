"""Names to what answers for them, and what is told of it."""

import pytest

from service.errors import ModelUnavailableError, NotFoundError
from service.routing.breaker import FAILURES, OPEN
from service.types import Offer, Prediction
from tests.service.routing.doubles import SIGNATURE, Setting


def test_the_newest_version_is_the_one_with_the_greatest_number() -> None:
    setting, other = Setting("a"), Setting("a")
    versions = setting.catalog.models["a"].versions
    versions["10"] = versions["9"] = other.catalog.models["a"].versions["1"]
    assert setting.catalog.models["a"].newest == "10"
    assert setting.catalog.newest("a") is versions["10"]
    assert setting.catalog.served("a", "1") is versions["1"]
    assert setting.catalog.newest("b") is None
    with pytest.raises(NotFoundError, match="no version '2'; served are 1, 10, 9"):
        setting.catalog.served("a", "2")


def test_predictions_by_name() -> None:
    setting = Setting("a", "b")
    setting["a"].prediction, setting["b"].prediction = Prediction(0.1, 0.2, 0.4), Prediction(0.1, 0.2, 0.3)
    assert setting.catalog.predict("a", 7, 9.0) == Prediction(0.1, 0.2, 0.4)
    assert setting["a"].costs == [7]
    assert setting.catalog.predict("both", 1, 9.0) == Prediction(0.1, 0.2, 0.3)
    setting["b"].fault = "it is being unloaded"
    assert setting.catalog.predict("both", 1, 9.0) == Prediction(0.1, 0.2, 0.4)
    assert setting.catalog.predict("nobody", 1, 9.0) == Prediction()


def test_an_open_breaker_is_a_fault_like_any_other() -> None:
    setting = Setting("a")
    served = setting.catalog.models["a"].versions["1"]
    for _ in range(FAILURES):
        served.breaker.heard(ModelUnavailableError("no connection"), False, setting.clock(), True)
    assert setting.catalog.fault("a") == "model 'a' is unavailable: no connection"
    assert setting.catalog.fault("both") == "route 'both' has no variant that is ready: a: no connection"
    assert [(info.ready, info.reason) for info in setting.catalog.infos()] == [
        (False, "no connection"),
        (False, "a: no connection"),
    ]
    assert setting.catalog.breaker_states() == [("a", "1", OPEN)]


def test_what_is_open_under_a_name_takes_and_gives() -> None:
    setting = Setting("a", "b")
    assert setting.catalog.offer("a") == setting.catalog.offer("both") == Offer(SIGNATURE, False, 64)
    assert setting.catalog.offer("a", "1") is not None
    assert setting.catalog.offer("a", "2") is None
    assert setting.catalog.offer("nobody") is None
    setting.catalog.models["a"].versions.clear()
    assert setting.catalog.offer("a") is None
    assert setting.catalog.offer("both") is not None
