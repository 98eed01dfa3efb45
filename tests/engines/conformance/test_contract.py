"""The contract of `engines.base.Engine`: every engine passes every test here."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from engines import open_engine
from engines.base import Engine
from engines.batch import Batch
from engines.errors import EngineError, InvalidInputError
from engines.tensor import Array, Tensors
from tests.engines.conformance.cases import CASES
from tests.engines.conformance.subject import Case, Subject, assert_close


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    case: Case = request.param
    if case.package and importlib.util.find_spec(case.package) is None:
        pytest.skip(f"{case.name}: the {case.package} package is not installed")
    return case.build(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def engine(subject: Subject) -> Iterator[Engine]:
    engine = open_engine(subject.options)
    yield engine
    engine.close()


def answers(engine: Engine, subject: Subject, requests: list[Tensors]) -> list[dict[str, Array]]:
    layout = subject.layout(requests)
    return layout.split(engine.run(layout.collate(requests)))


def batch_of(subject: Subject) -> Batch:
    return subject.layout(subject.requests).collate(subject.requests)


def test_signature_is_the_configuration(engine: Engine, subject: Subject) -> None:
    config = subject.options.config
    assert [(spec.name, spec.datatype) for spec in engine.signature.inputs] == [
        (spec.name, spec.datatype) for spec in config.inputs
    ]
    assert [(spec.name, spec.datatype) for spec in engine.signature.outputs] == [
        (spec.name, spec.datatype) for spec in config.outputs
    ]
    assert engine.signature.max_batch_size == config.max_batch_size


def test_answers_the_reference_in_order(engine: Engine, subject: Subject) -> None:
    for answer, request in zip(answers(engine, subject, list(subject.requests)), subject.requests, strict=True):
        assert_close(answer, subject.reference(request), subject.options.config.tolerance)


def test_dtypes_are_declared(engine: Engine, subject: Subject) -> None:
    outputs = engine.run(batch_of(subject))
    assert {spec.name: spec.datatype.numpy for spec in subject.options.config.outputs} == {
        name: output.dtype for name, output in outputs.items()
    }


def test_a_request_alone_answers_as_in_company(engine: Engine, subject: Subject) -> None:
    together = answers(engine, subject, list(subject.requests))
    backwards = answers(engine, subject, list(reversed(subject.requests)))[::-1]
    for request, first, second in zip(subject.requests, together, backwards, strict=True):
        (alone,) = answers(engine, subject, [request])
        assert_close(first, alone, subject.options.config.tolerance)
        assert_close(second, alone, subject.options.config.tolerance)


def test_outputs_are_finite(engine: Engine, subject: Subject) -> None:
    for name, output in engine.run(batch_of(subject)).items():
        assert output.dtype == object or np.isfinite(output).all(), name


def test_read_only_inputs(engine: Engine, subject: Subject) -> None:
    batch = batch_of(subject)
    before = {name: array.copy() for name, array in batch.inputs.items()}
    for array in batch.inputs.values():
        array.flags.writeable = False
    engine.run(batch)
    for name, array in batch.inputs.items():
        assert array.tolist() == before[name].tolist()


def bad_batches(batch: Batch) -> dict[str, Batch]:
    name, array = next(iter(batch.inputs.items()))
    others = {other: value for other, value in batch.inputs.items() if other != name}
    wrong = array.astype(np.float64) if array.dtype != object else np.zeros(array.shape, np.float64)
    return {
        "dtype": replace(batch, inputs={name: wrong, **others}),
        "rank": replace(batch, inputs={name: array.reshape(*array.shape, 1), **others}),
        "missing": replace(batch, inputs=others),
        "unknown": replace(batch, inputs={**batch.inputs, "nobody": array}),
    }


@pytest.mark.parametrize("fault", ["dtype", "rank", "missing", "unknown"])
def test_bad_input_is_refused_and_harms_nobody(engine: Engine, subject: Subject, fault: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        engine.run(bad_batches(batch_of(subject))[fault])
    assert "\n" not in str(refused.value)
    (answer,) = answers(engine, subject, [subject.requests[0]])
    assert_close(answer, subject.reference(subject.requests[0]), subject.options.config.tolerance)


def test_warm_up_then_answers(subject: Subject) -> None:
    engine = open_engine(subject.options)
    engine.warm_up()
    (answer,) = answers(engine, subject, [subject.requests[-1]])
    assert_close(answer, subject.reference(subject.requests[-1]), subject.options.config.tolerance)
    engine.close()


def test_closes_twice_and_then_refuses(subject: Subject) -> None:
    engine = open_engine(subject.options)
    engine.close()
    engine.close()
    with pytest.raises(EngineError):
        engine.run(batch_of(subject))
