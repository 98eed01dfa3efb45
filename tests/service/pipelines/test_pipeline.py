"""What a pipeline makes of a chat, and what it does where something is missing."""

import asyncio
from collections.abc import Sequence

import pytest

from engines.generation import Chat, GenerationCall, Message, Options, Prompt, Usage
from engines.tensor import BYTES, FP32, Signature, TensorSpec
from service.errors import DeadlineExceededError, InvalidRequestError, ModelUnavailableError
from service.generating import GenerateRequest, GenerationTiming
from service.pipelines.pipeline import compose
from service.routing.replica import Replica
from service.types import InferRequest, Job, Prediction
from tests.service.pipelines.doors import CARDS, TwoDoors, asking, user


@pytest.fixture
def doors() -> TwoDoors:
    return TwoDoors()


async def test_the_last_message_of_the_user_is_classified_and_the_model_gets_its_policy(doors: TwoDoors) -> None:
    chat = (user("hi"), Message("assistant", "Hello?"), user("I lost my card"), Message("assistant", "Oh"))
    generation = await doors.pipeline().generate(asking(*chat))
    assert doors.classified[0].inputs["text"].tolist() == [[b"I lost my card"]]
    assert (doors.classified[0].deadline, doors.classified[0].priority) == (9.0, 2)
    assert doors.messages == (Message("system", "Be brief.\n\nCards are free."), *chat)
    assert dict(generation.metadata) == {"intent": "lost_card", "confidence": "0.783", "policy": "cards"}


async def test_the_rest_of_the_request_reaches_the_model(doors: TwoDoors) -> None:
    await doors.pipeline().generate(asking(user("hi")))
    (asked,) = doors.asked
    assert (asked.model, asked.version, asked.id) == ("writer", "", "a")
    assert (asked.deadline, asked.priority, asked.call.options) == (9.0, 2, Options(max_tokens=5))


async def test_the_answer_is_passed_on_under_the_name_of_the_pipeline(doors: TwoDoors) -> None:
    pipeline = doors.pipeline()
    generation = await pipeline.generate(asking(user("hi")))
    assert (generation.model, generation.version, generation.engine) == ("help-desk", "1", "linear+echo")
    first, rest, end = [await generation.read() for _ in range(3)]
    assert (first[0].text, rest[-1], end) == ("Hello", Usage(3, 1), ())  # type: ignore[union-attr]
    generation.close()
    assert doors.answer.closed
    replica: Replica = pipeline
    assert (replica.name, replica.predict(7)) == ("help-desk:1", Prediction(1.0, 2.0, 21.0))


async def test_the_first_token_is_timed_from_before_the_classification(doors: TwoDoors) -> None:
    generation = await doors.pipeline().generate(asking(user("hi")))
    assert generation.timing == GenerationTiming(queue=0.5, first_token=2.25, per_token=0.1)
    doors.answer.timing.first_token = 0.0
    assert generation.timing.first_token == 0.0


@pytest.mark.parametrize(
    ("label", "confidence", "least", "policy"),
    [("pin", 0.5, 0.5, "pins"), ("pin", 0.499, 0.5, ""), ("weather", 0.9, 0.5, ""), ("pin", 0.1, 0, "pins")],
)
async def test_a_policy_wants_confidence(
    doors: TwoDoors, label: str, confidence: float, least: float, policy: str
) -> None:
    doors.labels, doors.confidences = [label], [confidence]
    generation = await doors.pipeline(least_confidence=least).generate(asking(user("hi")))
    assert dict(generation.metadata) == {"intent": label, "confidence": f"{confidence:.3f}", "policy": policy}
    assert ("PINs" in doors.messages[0].content) == bool(policy)


async def test_without_its_classifier_it_answers_without_a_policy(doors: TwoDoors) -> None:
    doors.trouble = ModelUnavailableError("model 'topic' is unavailable")
    generation = await doors.pipeline().generate(asking(user("hi")))
    assert dict(generation.metadata) == {"intent": "unavailable", "confidence": "0.000", "policy": ""}
    assert doors.messages[0] == Message("system", "Be brief.")
    assert generation.engine == "echo"
    assert doors.pipeline().fault == ""


async def test_a_deadline_that_passes_in_the_classifier_ends_the_request(doors: TwoDoors) -> None:
    doors.trouble = DeadlineExceededError("late")
    with pytest.raises(DeadlineExceededError):
        await doors.pipeline().generate(asking(user("hi")))
    assert doors.asked == []


async def test_a_caller_that_leaves_cancels_the_classification(doors: TwoDoors) -> None:
    doors.hold = asyncio.Event()
    task = asyncio.create_task(doors.pipeline().generate(asking(user("hi"))))
    await doors.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert doors.cancelled
    assert doors.asked == []


@pytest.mark.parametrize("prompts", [("go on",), (Chat((user("a"),)), "b"), ()])
async def test_only_chats_are_taken(doors: TwoDoors, prompts: Sequence[Prompt]) -> None:
    with pytest.raises(InvalidRequestError, match="'help-desk' takes chats") as caught:
        await doors.pipeline().generate(GenerateRequest("help-desk", GenerationCall(tuple(prompts))))
    assert caught.value.param == "model"


@pytest.mark.parametrize(("messages", "found"), [((), "none"), ((Message("system", "x"),), "system")])
async def test_a_chat_without_a_user_is_refused(doors: TwoDoors, messages: Sequence[Message], found: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"no message of the user; found {found}, send") as caught:
        await doors.pipeline().generate(asking(*messages))
    assert caught.value.param == "messages"


async def test_it_does_not_infer(doors: TwoDoors) -> None:
    with pytest.raises(InvalidRequestError, match="/v1/chat/completions"):
        await doors.pipeline().infer(Job(InferRequest("help-desk", {}), (), ()))


async def test_it_is_as_ready_as_the_model_that_writes(doors: TwoDoors) -> None:
    doors.fault = "model 'writer' is unavailable: its engine broke"
    assert doors.pipeline().fault == doors.fault


def test_the_callers_own_system_messages_come_behind_the_policy_in_one_message() -> None:
    own = (Message("system", "Rhyme."), Message("system", " "), Message("system", "Shout.\n"))
    later = (user("hi"), Message("system", "Whisper."), user("you"))
    assert compose("Be brief.", CARDS, (*own, *later)) == (
        Message("system", "Be brief.\n\nCards are free.\n\nRhyme.\n\nShout."),
        *later,
    )


def test_every_prompt_of_a_pipeline_begins_alike() -> None:
    """So that the prefix cache has it."""
    prompts = [compose("Be brief.", policy, (Message("system", "Rhyme."),))[0].content for policy in (CARDS, None)]
    assert all(prompt.startswith("Be brief.\n\n") for prompt in prompts)


def test_labels_and_policies_that_do_not_fit_are_logged(doors: TwoDoors, caplog: pytest.LogCaptureFixture) -> None:
    text, confidence = TensorSpec("text", BYTES, (1,)), TensorSpec("confidence", FP32, (1,))
    label = TensorSpec("label", BYTES, (1,))
    logits = TensorSpec("logits", FP32, (3,), labels=("lost_card", "pin", "weather"))
    doors.pipeline().review(Signature((text,), (label, confidence, logits)))
    doors.pipeline().review(Signature((text,), (label,)))
    assert [record.getMessage() for record in caplog.records] == [
        "pipeline help-desk: policies for intents that topic lacks: new_card",
        "pipeline help-desk: intents of topic without a policy: weather",
        "pipeline help-desk: topic lacks output confidence FP32; answers get no policy",
    ]


def test_all_that_answers_show_of_a_policy_is_in_the_digest(doors: TwoDoors) -> None:
    found = set()
    for change in ({}, {"name": "plastic"}, {"text": "Cards cost 5 euros."}):
        doors.policies = {"lost_card": CARDS.model_copy(update=change)}
        found.add(doors.pipeline().digest)
    assert len(found) == 3
