"""Pipelines with everything real behind them: a classifier that is trained here, the shipped `intent`, and `echo`."""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from engines.build.fit_head import fit_head
from engines.build.head_training import Recipe
from engines.generation import Chat, Delta, Finish, GenerationCall, Message, Options, Usage
from service.catalog import Catalog, Route
from service.cores import CoreBudget
from service.errors import DeadlineExceededError, DeadlineHopelessError, InvalidRequestError
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation
from service.opening import Machine
from service.pipelines.pipeline import Doors, Pipeline
from service.pipelines.policies import Policies, Policy, load_policies
from service.routing.policies import ordered
from service.runtime import Runtime
from service.settings import PipelineSettings, load_settings
from service.telemetry.metrics import Metrics
from tests.engines.tiny_encoder import HIDDEN, build, write_encoder

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "model_repository"
EXAMPLES = """text,category
i lost my card,lost_card
my card is lost,lost_card
where is my lost card,lost_card
top up,top_up
top up fee,top_up
is a top up new,top_up
"""
OUTPUTS = """
output [
  { name: "label" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "confidence" data_type: TYPE_FP32 dims: [ 1 ] },
  { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }
]
"""
HEAD = f"""
backend: "linear" max_batch_size: 8
input [ {{ name: "embedding" data_type: TYPE_FP32 dims: [ {HIDDEN} ] }} ] {OUTPUTS}
"""
ENSEMBLE = f"""
platform: "ensemble" max_batch_size: 8
input [ {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }} ] {OUTPUTS}
ensemble_scheduling {{ step [
  {{ model_name: "tiny_onnx" model_version: -1 input_map {{ key: "text" value: "text" }}
    output_map {{ key: "embedding" value: "embedding" }} }},
  {{ model_name: "head" model_version: -1 input_map {{ key: "embedding" value: "embedding" }}
    output_map {{ key: "label" value: "label" }} output_map {{ key: "confidence" value: "confidence" }}
    output_map {{ key: "logits" value: "logits" }} }} ] }}
"""
EVERYTHING = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
LOST = Policy(name="lost", intents=["lost_card"], text="Freeze a lost card.")
SYSTEM = "You work for a bank."


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text classifier of two topics, and an echo that says all messages, not the last alone."""
    folder = tmp_path_factory.mktemp("pipelines")
    models, examples = folder / "models", folder / "train.csv"
    build(write_encoder(folder / "source"), models, "onnxruntime")
    examples.write_text(EXAMPLES)
    recipe = Recipe(members=1, hidden=64, epochs=100, batch=3, decay=0, dropout=0, noise=0, smoothing=0)
    fit_head(models / "tiny_onnx", examples, models / "head", Console(file=StringIO()), recipe)
    (models / "head" / "config.pbtxt").write_text(HEAD)
    (models / "topic" / "1").mkdir(parents=True)
    shutil.copy(models / "head" / "labels.txt", models / "topic")
    (models / "topic" / "config.pbtxt").write_text(ENSEMBLE)
    shutil.copytree(SHIPPED / "echo", models / "echo")
    (models / "echo" / "1" / "chat_template.jinja").write_text(EVERYTHING)
    return models


@asynccontextmanager
async def opened(root: Path, names: tuple[str, ...] = (), *routes: Route) -> AsyncIterator[tuple[Gateway, Catalog]]:
    catalog, metrics = Catalog(routes={route.name: route for route in routes}), Metrics()
    gateway = Gateway(catalog, metrics, time.monotonic)
    runtime = Runtime(catalog, Machine(CoreBudget(2), 2, time.monotonic, 100), metrics, gateway, lambda *_: None)
    await runtime.start([root], names)
    try:
        yield gateway, catalog
    finally:
        await runtime.stop(5.0)


def _doors(gateway: Gateway, catalog: Catalog) -> Doors:
    return Doors(gateway.infer, gateway.generate, catalog.fault, gateway.clock, catalog.predict)


def pipeline_over(gateway: Gateway, catalog: Catalog, policies: Policies, settings: PipelineSettings) -> Pipeline:
    return Pipeline("desk", settings, policies, _doors(gateway, catalog))


def desk(gateway: Gateway, catalog: Catalog) -> Pipeline:
    settings = PipelineSettings(
        model="echo", classifier="topic", system=SYSTEM, policies=Path("none.toml"), excerpt_bytes=40
    )
    return pipeline_over(gateway, catalog, {"lost_card": LOST}, settings)


def asking(text: str, deadline: float = float("inf")) -> GenerateRequest:
    call = GenerationCall((Chat((Message("user", text),)),), Options(max_tokens=500))
    return GenerateRequest("desk", call, deadline=deadline)


async def said(generation: Generation) -> str:
    """The whole answer, which must end as it should."""
    text, ends = "", 0
    while events := await generation.read():
        text += "".join(event.text for event in events if isinstance(event, Delta))
        ends += sum(isinstance(event, Finish) for event in events)
        last = events[-1]
    assert isinstance(last, Usage)
    assert ends == 1
    return text


async def test_echo_says_the_system_prompt_the_policy_and_the_message(repository: Path) -> None:
    async with opened(repository) as (gateway, catalog):
        generation = await desk(gateway, catalog).generate(asking("my card is lost"))
        text = await said(generation)
        generation.close()
    assert text == f"system: {SYSTEM}\n\n{LOST.text}\nuser: my card is lost\n"
    assert (generation.model, generation.engine) == ("desk", "onnxruntime+linear+echo")
    assert generation.metadata["intent"] == "lost_card"
    assert float(generation.metadata["confidence"]) > 0.4
    assert generation.metadata["policy"] == "lost"


async def test_an_intent_without_a_policy_gets_none(repository: Path) -> None:
    async with opened(repository) as (gateway, catalog):
        generation = await desk(gateway, catalog).generate(asking("top up fee"))
        assert LOST.text not in await said(generation)
        assert (generation.metadata["intent"], generation.metadata["policy"]) == ("top_up", "")


async def test_a_message_far_over_the_classifiers_window_is_classified(repository: Path) -> None:
    async with opened(repository) as (gateway, catalog):
        generation = await desk(gateway, catalog).generate(asking("where is it? " * 40 + "i lost my card"))
        generation.close()
        assert generation.metadata["intent"] == "lost_card"


async def test_a_deadline_that_is_hopeless_for_the_classifier_is_refused(repository: Path) -> None:
    async with opened(repository) as (gateway, catalog):
        with pytest.raises((DeadlineHopelessError, DeadlineExceededError)):  # idle, it may measure
            await desk(gateway, catalog).generate(asking("top up", deadline=gateway.clock() + 1e-6))


async def test_without_its_classifier_the_model_still_answers(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(repository, ("echo",)) as (gateway, catalog):
        pipeline = desk(gateway, catalog)
        assert pipeline.fault == ""
        assert SYSTEM in await said(await pipeline.generate(asking("my card is lost")))
    assert "classifier topic cannot tell" in caplog.text


async def test_without_its_model_the_pipeline_is_at_fault(repository: Path) -> None:
    async with opened(repository, ("tiny_onnx", "head", "topic")) as (gateway, catalog):
        assert "unknown model 'echo'" in desk(gateway, catalog).fault


async def test_a_model_that_does_not_write_is_named(repository: Path) -> None:
    async with opened(repository) as (gateway, catalog):
        settings = PipelineSettings(model="head", classifier="topic", system=SYSTEM, policies=Path("none.toml"))
        with pytest.raises(InvalidRequestError, match="'head' does not generate text"):
            await pipeline_over(gateway, catalog, {}, settings).generate(asking("top up"))


async def test_the_shipped_intent_picks_the_policy_of_the_bank(caplog: pytest.LogCaptureFixture) -> None:
    if not any((SHIPPED / "minilm_onnx").glob("[0-9]*/*")):
        pytest.skip("the shipped models are not built: run `batchyard build`")
    settings = load_settings({}, ROOT / "gateway.toml").pipelines["bank-assistant"]
    policies = load_policies(ROOT / settings.policies)
    names = ("minilm_onnx", "intent_head", "intent", "echo")
    async with opened(SHIPPED, names, Route("minilm", ("minilm_onnx",), ordered)) as (gateway, catalog):
        echoed = settings.model_copy(update={"model": "echo"})
        pipeline = pipeline_over(gateway, catalog, policies, echoed)
        pipeline.review(gateway.model("intent").signature)
        assert caplog.records == []
        for message, intent, family in (
            ("My card still has not arrived", "card_arrival", "getting_a_card"),
            ("Someone stole my phone, what now?", "lost_or_stolen_phone", "lost_or_stolen"),
            ("卡" * 500 + ", how do I change my PIN?", "change_pin", "pin_and_passcode"),
        ):
            generation = await pipeline.generate(asking(message))
            generation.close()
            assert (generation.metadata["intent"], generation.metadata["policy"]) == (intent, family)
