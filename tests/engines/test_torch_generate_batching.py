"""Whoever joins, leaves or is cancelled when: an answer is what it is alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import open_generator
from engines.text_generator import GenerationRequest, TextGenerator
from tests.engines.generators.driving import Drive, config_text, ids, options, request
from tests.engines.generators.tiny_llama import SMOLLM2, VOCABULARY, WINDOW, write_model

pytest.importorskip("torch")
pytest.importorskip("transformers")

torch_generate_cache = pytest.importorskip("engines.torch_generate_cache")

_LONGEST = 60


@dataclass(frozen=True)
class Visit:
    """A request that comes before step `at` and is cancelled once it has `patience` tokens, or never."""

    wanted: GenerationRequest
    at: int
    patience: int | None


def _visit(size: int, seed: int, most: int, temperature: float, at: int, patience: int | None) -> Visit:
    prompt = [3 + (seed * 31 + place * (seed % 17 + 1)) % (VOCABULARY - 3) for place in range(size)]
    return Visit(request(prompt, most, seed=seed, temperature=temperature), at, patience)


_VISITS = st.builds(
    _visit,
    st.integers(1, _LONGEST),
    st.integers(0, 999),
    st.integers(1, WINDOW - _LONGEST),
    st.sampled_from([0.0, 0.0, 0.8]),
    st.integers(0, 30),
    st.none() | st.integers(0, 20),
)


@pytest.fixture(scope="module", params=[{}, SMOLLM2], ids=["llama", "smollm2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "m"
    write_model(folder, **request.param)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> Iterator[TextGenerator]:
    yield from _opened(folder)


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[TextGenerator]:
    """Small enough that requests wait for places and for room in the cache."""
    yield from _opened(folder, generation__max_sequences=4, generation__kv_cache_tokens=2 * WINDOW)


def _opened(folder: Path, **parameters: object) -> Iterator[TextGenerator]:
    generator = open_generator(options(folder, config_text("torch_generate", **parameters)))
    yield generator
    generator.close()


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(visits=st.lists(_VISITS, min_size=1, max_size=10))
def test_an_answer_is_what_it_is_alone(alone: TextGenerator, shared: TextGenerator, visits: list[Visit]) -> None:
    drive = Drive(shared)
    added = _visited(drive, visits)
    for request_id, visit in added.items():
        found, wanted = [token.id for token in drive.tokens[request_id]], ids(alone, visit.wanted)
        assert found == (wanted[: len(found)] if request_id in drive.cancelled else wanted)
    assert list(shared.step()) == []


def _visited(drive: Drive, visits: list[Visit]) -> Mapping[int, Visit]:
    added: dict[int, Visit] = {}
    for now in range(400):
        for visit in visits:
            if visit.at == now:
                added[drive.add(visit.wanted)] = visit
        for request_id, visit in added.items():
            if visit.patience is not None and len(drive.tokens[request_id]) >= visit.patience:
                drive.cancel(request_id)
        drive.step()
        if len(added) == len(visits) and added.keys() == drive.finished.keys() | drive.cancelled:
            return added
    raise AssertionError("not done after 400 steps")


@settings(derandomize=True)
@given(
    most_rows=st.integers(1, 8),
    most_tokens=st.integers(1, 1000),
    wishes=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 500)), max_size=20),
)
def test_room_is_made_wherever_it_may_be(most_rows: int, most_tokens: int, wishes: list[tuple[int, int]]) -> None:
    cache = torch_generate_cache.SlotCache(1, most_rows, most_tokens)
    for rows, longest in wishes:
        if rows <= most_rows:
            assert cache.make_room(rows, longest, (0, 0)) == (rows * longest <= most_tokens)
            assert cache.shape[0] * cache.shape[1] <= most_tokens
            assert cache.shape[0] <= most_rows
