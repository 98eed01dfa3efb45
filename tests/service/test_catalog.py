"""Names to what answers for them, and what is told of it."""

from pathlib import Path

import numpy as np
import pytest

from engines.config.pbtxt import parse
from service.ensemble import Ensemble
from service.errors import ModelUnavailableError, NotFoundError
from service.routing.breaker import FAILURES, OPEN
from service.types import DIRECT, InferRequest, InferResponse, Job, Prediction, Routed, Timing
from tests.service.routing.doubles import Setting
from tests.service.test_runtime import ENSEMBLE


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


def ensemble(setting: Setting, answers: list[InferResponse]) -> Ensemble:
    """Two steps, `both` and `second`."""

    async def infer(request: InferRequest) -> InferResponse:
        return answers.pop(0)

    config = parse(ENSEMBLE, source="config.pbtxt", folder=Path("model_repository/chain"))
    return Ensemble(config, "1", infer, setting.catalog.fault, setting.catalog.predict)


def test_an_ensemble_predicts_the_sum_of_its_steps() -> None:
    setting = Setting("second")
    setting["second"].prediction = Prediction(0.1, 0.2, 0.4)
    assert ensemble(setting, []).predict(3) == Prediction(0.2, 0.4, 0.8)
    assert setting["second"].costs == [3, 3]


async def test_an_ensemble_tells_what_became_of_its_steps() -> None:
    timing = Timing(0.1, 0.2, 1, 2, 3, Prediction(0.1, 0.2, 0.4), 0.3)
    stepped = Routed("both", step_down="small:1", tries=("large:1: full",))
    outputs = {"OUTPUT0": np.zeros((1, 2), np.float32)}
    answers = [
        InferResponse("small", "1", outputs, "x", timing, routed=stepped),
        InferResponse("second", "1", outputs, "y", timing),
    ]
    job = Job(InferRequest("chain", {"IN": outputs["OUTPUT0"]}), (), ())
    response = await ensemble(Setting("second"), answers).infer(job)
    assert response.engine == "x+y"
    assert response.timing.predicted == Prediction(0.2, 0.4, 0.8)
    assert response.timing.actual == pytest.approx(0.6)
    assert response.routed == Routed(step_down="small:1", tries=("large:1: full",))


async def test_an_ensemble_of_models_was_not_routed() -> None:
    outputs = {"OUTPUT0": np.zeros((1, 2), np.float32)}
    answers = [InferResponse(name, "1", outputs) for name in ("first", "second")]
    job = Job(InferRequest("chain", {"IN": outputs["OUTPUT0"]}), (), ())
    assert (await ensemble(Setting("second"), answers).infer(job)).routed is DIRECT
