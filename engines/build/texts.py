"""Made-up messages to a bank, for where no real text is given."""

import random

_SENTENCE = """my card payment account transfer money why has been not yet still the a to I you can do how bank cash
machine pending top up limit fee charged exchange rate abroad identity verify app phone new old lost stolen"""
_MEAN_WORDS, _SPREAD, _LONGEST = 2.28, 0.62, 70


def made_up_texts(count: int, seed: int) -> list[str]:
    """`count` messages, the same for the same seed, as long as real ones.

    Log-normal lengths: in MiniLM tokens a mean near 15, the 95th percentile near 31, at most about 80.
    """
    source = random.Random(seed)  # noqa: S311
    return [_message(source) for _ in range(count)]


def _message(source: random.Random) -> str:
    words = min(_LONGEST, max(2, round(source.lognormvariate(_MEAN_WORDS, _SPREAD))))
    return " ".join(source.choices(_SENTENCE.split(), k=words)).capitalize() + "?"
