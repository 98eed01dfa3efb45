"""How the settings of a stateful model become those of its queues."""

from pathlib import Path

import pytest

from engines.calls import CallEngine
from engines.config.pbtxt import parse
from engines.model_config import DynamicBatching, ModelConfig
from engines.sequence_batching import SequenceBatching
from engines.tensor import Signature
from service.batching.compose import SingleComposer, StackComposer
from service.batching.slots import SlotComposer
from service.opening_replica import queue_settings, sequence_composer
from tests.service.batching.gate import Gate

CONFIG = """
backend: "identity" max_batch_size: %d
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
sequence_batching { %s
  control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 3, 1 ] } } }
"""


class Calls:
    """Takes requests one by one."""

    signature = Signature((), ())

    def warm_up(self) -> None: ...

    def execute(self, calls: object) -> list[None]:
        return []

    def close(self) -> None: ...


def read(strategy: str, rows: int = 8) -> tuple[ModelConfig, SequenceBatching]:
    config = parse(CONFIG % (rows, strategy), source="config.pbtxt", folder=Path("m"))
    assert config.sequence_batching is not None
    return config, config.sequence_batching


def test_direct_keeps_rows_and_knows_what_is_not_ready() -> None:
    assert sequence_composer(*read("direct { }"), Gate()) == SlotComposer(8, {"READY": 3})


def test_engines_that_take_requests_one_by_one_have_no_rows_to_keep() -> None:
    assert isinstance(Calls(), CallEngine)
    assert sequence_composer(*read("direct { }"), Calls()) == StackComposer(8)


def test_oldest_batches_what_is_ready() -> None:
    made = sequence_composer(*read("oldest { preferred_batch_size: [ 4, 2 ] }"), Gate())
    assert made == StackComposer(8, (2, 4))


@pytest.mark.parametrize("strategy", ["direct { }", "oldest { }"])
def test_models_without_a_batch_dimension_run_one_request_at_a_time(strategy: str) -> None:
    assert sequence_composer(*read(strategy, rows=0), Gate()) == SingleComposer()


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("direct { max_queue_delay_microseconds: 500 }", DynamicBatching()),
        (
            "direct { max_queue_delay_microseconds: 500 minimum_slot_utilization: 0.7 }",
            DynamicBatching((6, 7, 8), 500),
        ),
        (
            "oldest { max_queue_delay_microseconds: 9 preferred_batch_size: 4 preserve_ordering: true }",
            DynamicBatching((4,), 9, preserve_ordering=True),
        ),
    ],
)
def test_delays_are_those_of_the_strategy(strategy: str, wanted: DynamicBatching) -> None:
    assert queue_settings(*read(strategy)) == wanted
