"""Rules of a route, and what they read of a request."""

import numpy as np
import pytest

from engines.generation import Chat, GenerationCall, Message
from service.generating import GenerateRequest
from service.routing.facts import Facts, prompt_tokens
from service.routing.language import LanguageSetupError, no_language, open_detector
from service.routing.rules import Rule, first_match
from service.types import Hints, InferRequest, Tenant

ONLY = frozenset({"small"})


def text(*texts: str, hints: Hints | None = None, priority: int = 0) -> InferRequest:
    given = np.array([one.encode() for one in texts], object)
    return InferRequest("m", {"text": given}, hints=hints or Hints(), priority=priority)


def facts(request: InferRequest | GenerateRequest, tokens: int = 10) -> Facts:
    return Facts(request, tokens, no_language)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("all", ONLY), True),
        (Rule("short", ONLY, max_tokens=10), True),
        (Rule("short", ONLY, max_tokens=9), False),
        (Rule("long", ONLY, min_tokens=10), True),
        (Rule("long", ONLY, min_tokens=11), False),
        (Rule("text", ONLY, modality="text"), True),
        (Rule("tensor", ONLY, modality="tensor"), False),
        (Rule("tenant", ONLY, tenant="retail"), True),
        (Rule("tenant", ONLY, tenant="other"), False),
        (Rule("priority", ONLY, priority=1), True),
        (Rule("priority", ONLY, priority=2), False),
        (Rule("header", ONLY, headers={b"x-canary": b"yes"}), True),
        (Rule("header", ONLY, headers={b"x-canary": b"no"}), False),
        (Rule("headers", ONLY, headers={b"x-canary": b"yes", b"x-other": b"1"}), False),
        (Rule("language", ONLY, languages=frozenset({"de"})), False),
        (Rule("several", ONLY, max_tokens=10, tenant="retail", modality="text", priority=1), True),
        (Rule("several", ONLY, max_tokens=10, tenant="retail", modality="text", priority=2), False),
    ],
)
def test_a_rule_matches_what_is_like_all_it_names(rule: Rule, expected: bool) -> None:
    hints = Hints(headers={b"x-canary": b"yes"}, tenant=Tenant("retail"))
    assert rule.matches(facts(text("hello", hints=hints, priority=1))) is expected


def test_the_first_that_matches_counts() -> None:
    rules = (Rule("a", ONLY, min_tokens=100), Rule("b", ONLY), Rule("c", ONLY))
    assert first_match(rules, facts(text("hello"))) is rules[1]
    assert first_match(rules[:1], facts(text("hello"))) is None


@pytest.mark.parametrize(
    ("given", "modality"),
    [
        (np.array([b"hello"], object), "text"),
        (np.array([[b"\xff\xd8\xff\xe0 a photo"]], object), "image"),
        (np.array([b"\x89PNG\r\n"], object), "image"),
        (np.zeros((1, 3, 224, 224), np.float32), "image"),
        (np.zeros((2, 224, 320, 3), np.uint8), "image"),
        (np.zeros((28, 28, 1), np.uint8), "image"),
        (np.zeros((1, 16), np.float32), "tensor"),
        (np.zeros((4, 3, 2), np.float32), "tensor"),
        (np.zeros((2, 64, 384), np.float32), "tensor"),
        (np.array([], object), "text"),
    ],
)
def test_the_modality_of_tensors(given: np.ndarray, modality: str) -> None:
    assert facts(InferRequest("m", {"IN": given})).modality == modality


def test_a_text_beside_tensors_is_text() -> None:
    request = InferRequest("m", {"k": np.zeros((1, 1), np.int32), "text": np.array([b"hello"], object)})
    assert facts(request).modality == "text"


def test_what_is_generated_is_text_of_the_last_words_of_the_user() -> None:
    said = (Message("user", "erst"), Message("assistant", "ja"), Message("user", "zuletzt " * 40))
    request = GenerateRequest("m", GenerationCall((Chat(said),)))
    assert facts(request).modality == "text"
    assert facts(request).text == "zuletzt " * 40
    assert prompt_tokens(request) == (4 + 2 + 320) // 4
    plain = GenerateRequest("m", GenerationCall(("short", "much longer than the other")))
    assert prompt_tokens(plain) == len("much longer than the other") // 4
    assert prompt_tokens(GenerateRequest("m", GenerationCall((np.arange(7),)))) == 7


class Detector:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, given: str) -> str:
        self.asked += 1
        return "de"


def test_the_language_is_looked_for_once_and_only_where_the_rest_matches() -> None:
    detector = Detector()
    german = frozenset({"de"})
    found = Facts(text("hallo"), 10, detector)
    assert not Rule("", ONLY, min_tokens=11, languages=german).matches(found)
    assert detector.asked == 0
    assert Rule("", ONLY, languages=german).matches(found)
    assert not Rule("", ONLY, languages=frozenset({"fr"})).matches(found)
    assert detector.asked == 1
    tensor = Facts(InferRequest("m", {"IN": np.zeros((1, 2))}), 1, detector)
    assert not Rule("", ONLY, languages=german).matches(tensor)
    assert detector.asked == 1


def test_languages_are_told_apart() -> None:
    pytest.importorskip("py3langid")
    detect = open_detector(["de", "fr"])
    assert detect("Ich habe meine Karte verloren") == "de"
    assert detect("Où est ma carte bancaire ?") == "fr"
    assert detect("I have lost my card") == "en"
    assert detect("我的卡在哪里") == "zh"
    assert detect("") == ""
    assert detect("ok") == "", "one word is no language"
    with pytest.raises(LanguageSetupError, match="no language 'xx'; wanted ISO 639 codes such as de"):
        open_detector(["de", "xx"])


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    with pytest.raises(LanguageSetupError, match=r"pip install 'batchyard\[language\]'"):
        open_detector(["de"])
