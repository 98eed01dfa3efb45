"""Models loaded anew over HTTP while callers keep asking."""

import asyncio
import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.processes import IDENTITY, Answer, Connection, Tally, keep_asking, parameter, serving, write_model

LOADS = 20
CALLERS = 12
MOST = 2**24
ENSEMBLE = """
platform: "ensemble" max_batch_size: 64
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [ { model_name: "both" model_version: -1
  input_map { key: "INPUT0" value: "INPUT0" } output_map { key: "OUTPUT0" value: "OUTPUT0" } } ] }
"""
ROUTE = json.dumps({"both": {"variants": ["apart", "plain"]}})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    write_model(root, "plain", IDENTITY)
    write_model(root, "apart", IDENTITY + parameter("isolation", "process"))
    write_model(root, "chain", ENSEMBLE)
    return root


async def load(port: int, name: str) -> Answer:
    with closing(Connection(port)) as connection:
        return await connection.ask("POST", f"/v2/repository/models/{name}/load")


async def ready(port: int, name: str) -> bool:
    with closing(Connection(port)) as connection:
        answers = [await connection.ask("GET", path) for path in ("/v2/health/ready", f"/v2/models/{name}/ready")]
    return all(answer.status == 200 for answer in answers)


async def test_no_request_fails_while_models_are_loaded_anew(tmp_path: Path, repository: Path) -> None:
    """By their own names, by a route, and by an ensemble over the route."""
    tally = Tally()
    done = False
    with serving(tmp_path, repository, "--drain-seconds", "0", "--allow-control", "true", "--routes", ROUTE) as server:
        names = ("plain", "apart", "both", "chain")
        callers = [
            asyncio.create_task(
                keep_asking(server.port, tally, names[n % len(names)], 0, lambda: done, n * MOST // CALLERS)
            )
            for n in range(CALLERS)
        ]
        for number in range(LOADS // 2):
            answers = await asyncio.gather(*(load(server.port, name) for name in ("plain", "apart")))
            assert [answer.status for answer in answers] == [200, 200], answers
            assert await ready(server.port, names[number % len(names)])
        (repository / "plain" / "config.pbtxt").write_text("nonsense")
        broken = await load(server.port, "plain")
        assert broken.status == 400
        assert b"what was loaded before goes on" in broken.body
        assert await ready(server.port, "plain")
        done = True
        await asyncio.gather(*callers)
        assert len(server.children()) <= 2
    assert set(tally.ends) == {"right"}, tally
