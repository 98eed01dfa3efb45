"""The `batchyard.upstream.` parameters."""

import pytest

from engines.errors import ModelLoadError
from engines.openai_upstream_settings import Defaults, UpstreamSettings, read_settings
from tests.upstream import options

URL = "http://127.0.0.1:8001/v1"
KEY = "sk-test-0123456789"


def settings(url: str = URL, **parameters: str) -> UpstreamSettings:
    return read_settings(options(url, **parameters).config)


def refusal(url: str = URL, **parameters: str) -> str:
    with pytest.raises(ModelLoadError) as caught:
        settings(url, **parameters)
    return str(caught.value)


def test_what_is_not_given_has_a_default() -> None:
    found = settings()
    assert (found.url, found.model, found.key) == (URL, "tiny", "")
    assert (found.connect_timeout, found.max_connections) == (2.0, 64)
    assert {"tools", "logprobs", "seed", "json_schema"} <= found.features
    assert found.defaults == Defaults()


def test_what_is_given() -> None:
    found = settings(
        "https://host/v1/",
        upstream__model="big",
        upstream__connect_timeout_ms="250",
        upstream__max_connections="3",
        upstream__features="seed, tools",
        generation__temperature="0.5",
        generation__max_tokens="99",
    )
    assert (found.url, found.model) == ("https://host/v1", "big")
    assert (found.connect_timeout, found.max_connections) == (0.25, 3)
    assert found.features == {"seed", "tools"}
    assert found.defaults == Defaults(max_tokens=99, temperature=0.5)


def test_connections_are_as_many_as_answers_at_once() -> None:
    assert settings(generation__max_sequences="7").max_connections == 7


def test_no_features() -> None:
    assert settings(upstream__features="none").features == frozenset()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "give the base of an OpenAI-compatible API"),
        ("127.0.0.1:8001", "give the base of an OpenAI-compatible API"),
        ("ftp://host/v1", "give the base of an OpenAI-compatible API"),
        ("http:///v1", "give the base of an OpenAI-compatible API"),
        ("http://host:port/v1", "give the base of an OpenAI-compatible API"),
        ("http://host/v1?key=1", "give the base of an OpenAI-compatible API"),
        ("http://ho st/v1", "give the base of an OpenAI-compatible API"),
        ("http://user:secret@host/v1", "it holds a user or password; remove them"),
    ],
)
def test_a_url_must_be_a_base(url: str, message: str) -> None:
    said = refusal(url)
    assert message in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("upstream__modle", "x", "there is no such parameter; the nearest is batchyard.upstream.model"),
        ("upstream__api_key", KEY, "there is no such parameter; the nearest is batchyard.upstream.api_key_env"),
        ("upstream__api_key_env", KEY, "give the NAME of an environment variable"),
        ("upstream__api_key_env", "UNSET_KEY", "the environment variable UNSET_KEY is not set"),
        ("upstream__model", "", "give the model's name on that server"),
        ("upstream__connect_timeout_ms", "0", "a whole number from 1 to 600000"),
        ("upstream__max_connections", "many", "a whole number from 1"),
        ("upstream__features", "sed", "'sed' is no feature; the nearest is seed"),
        ("upstream__features", "", "'' is no feature"),
    ],
)
def test_faults_are_named_and_no_key_is_shown(key: str, value: str, message: str) -> None:
    said = refusal(**{key: value})
    assert said.startswith("model 'tiny': ")
    assert message in said
    assert KEY not in said


def test_the_key_is_read_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    found = settings(upstream__api_key_env="SOME_KEY")
    assert found.key == KEY
    assert KEY not in repr(found)


def test_a_key_that_no_header_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\nx: y")
    said = refusal(upstream__api_key_env="SOME_KEY")
    assert "characters that no HTTP header may have" in said
    assert KEY not in said
