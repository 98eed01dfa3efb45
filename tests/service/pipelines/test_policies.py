"""Policy files: what is read, what is refused, and that the bank's own covers every intent once."""

from pathlib import Path

import pytest

from service.pipelines.policies import Policies, load_policies
from service.settings import InvalidSettingsError

ROOT = Path(__file__).parents[3]
CARDS = '[[policy]]\nname = "cards"\nintents = ["lost_card"]\ntext = " Cards are\\nfree. "\n'


def read(folder: Path, text: str) -> Policies:
    path = folder / "policies.toml"
    path.write_text(text)
    return load_policies(path)


def test_each_intent_finds_its_policy(tmp_path: Path) -> None:
    policies = read(tmp_path, CARDS + '[[policy]]\nname = "pins"\nintents = ["pin", "new_pin"]\ntext = "Free."')
    assert {intent: policy.name for intent, policy in policies.items()} == {
        "lost_card": "cards",
        "pin": "pins",
        "new_pin": "pins",
    }
    assert policies["lost_card"].text == "Cards are\nfree."


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "policy: is missing; add it"),
        ("polcy = 1\n" + CARDS, "polcy: unknown key; did you mean 'policy'?"),
        (CARDS + "txt = 'x'", "policy 1.txt: unknown key; did you mean 'text'?"),
        (
            CARDS.replace(" Cards are\\nfree. ", " "),
            "policy 1.text: found ' '; String should have at least 1 character",
        ),
        (CARDS.replace('"lost_card"', ""), "policy 1.intents: found []; "),
        (CARDS.replace('"lost_card"', '"a", 2'), "policy 1.intents 2: found 2; wanted a valid string"),
        (CARDS + CARDS.replace('"cards"', '"more"'), "intent 'lost_card' stands there twice; name each once"),
        (CARDS + CARDS.replace("lost_card", "pin"), "name 'cards' stands there twice"),
        ("policy = ", "cannot be read as TOML: "),
    ],
)
def test_a_fault_is_one_line_that_says_where(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'policies.toml'}: {fault}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=r"none.toml: cannot be read as TOML: .*No such file"):
        load_policies(tmp_path / "none.toml")


def test_the_bank_has_a_policy_for_every_intent() -> None:
    """In exactly one family each: the loader refuses an intent that stands there twice."""
    labels = (ROOT / "model_repository" / "intent" / "labels.txt").read_text("utf-8").splitlines()
    policies = load_policies(ROOT / "pipelines" / "bank.toml")
    assert len(labels) == 77
    assert policies.keys() == set(labels)


def test_the_bank_is_brief() -> None:
    policies = load_policies(ROOT / "pipelines" / "bank.toml")
    families = {policy.name: policy.text for policy in policies.values()}
    assert 10 <= len(families) <= 15
    assert [name for name, text in families.items() if "\n" in text or not 40 <= len(text.split()) <= 90] == []
