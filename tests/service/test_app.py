"""The wired application, started and stopped, where a setting must reach another room."""

from pathlib import Path

import httpx

from service.app import create_app
from service.settings import load_settings
from tests.service.api.serving import serve


def test_no_more_texts_are_taken_at_once_than_the_queue_holds(tmp_path: Path) -> None:
    settings = load_settings({"model_repository": [tmp_path], "max_queue_size": 4})
    with serve(create_app(settings)) as address:
        answer = httpx.post(f"{address.url}/v1/embeddings", json={"model": "any", "input": ["a"] * 5})
    assert answer.status_code == 400
    assert "input has 5 items, the most is 4" in answer.json()["error"]["message"]
