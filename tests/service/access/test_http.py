"""Who may ask what over HTTP: v2 and OpenAI."""

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from contextlib import closing

import httpx
import openai
import pytest

from tests.e2e.processes import infer_body
from tests.service.access.served import KEYS, Served

PUBLIC = ["/v2", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"]
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}]}


def infer(client: httpx.Client, model: str, data: Sequence[float] = (1.0,), **headers: str) -> httpx.Response:
    return client.post(f"/v2/models/{model}/infer", content=infer_body(data), headers=headers)


def usage(client: httpx.Client, tenant: str = "") -> dict[str, object]:
    answer = client.get("/v1/usage", params={"tenant": tenant} if tenant else {})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()["data"][0]
    return found


def test_without_a_key_only_what_is_public_answers(server: Served) -> None:
    with server.client() as nobody:
        assert [nobody.get(path).status_code for path in PUBLIC] == [200] * len(PUBLIC)
        for path in ("/metrics", "/v1/models", "/v1/usage", "/v2/models/identity", "/v2/logging", "/nowhere"):
            answer = nobody.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "x-request-id" in answer.headers
        answer = infer(nobody, "identity")
        assert (answer.status_code, "send one as" in answer.json()["error"]) == (401, True)
        answer = nobody.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer by_unknown"},
        {"x-api-key": "by_unknown"},
        {"authorization": KEYS["app"]},
        {"authorization": f"Basic {KEYS['app']}"},
        {"authorization": f"Bearer {KEYS['app']}", "x-api-key": KEYS["other"]},
        {"x-api-key": KEYS["app"] * 100},
    ],
)
def test_what_is_no_key_of_this_server_is_401(server: Served, headers: dict[str, str]) -> None:
    with server.client(**headers) as client:
        answer = infer(client, "identity")
    assert answer.status_code == 401
    assert "by_" not in answer.text


def test_a_key_opens_by_either_header(server: Served) -> None:
    with server.client() as client:
        for headers in ({"authorization": f"bearer {KEYS['app']}"}, {"x-api-key": KEYS["app"]}):
            assert infer(client, "identity", **headers).status_code == 200


def test_scopes(server: Served) -> None:
    with server.client("app") as app, server.client("ops") as ops, server.client("watch") as watch:
        assert [one.get("/metrics").status_code for one in (app, ops, watch)] == [403, 403, 200]
        assert [one.get("/v2/models/stats").status_code for one in (app, ops, watch)] == [403, 403, 200]
        assert [one.get("/v2/logging").status_code for one in (app, ops, watch)] == [403, 200, 403]
        load = "/v2/repository/models/identity/load"
        assert [one.post(load).status_code for one in (app, watch, ops)] == [403, 403, 200]
        assert [infer(one, "identity").status_code for one in (app, ops, watch)] == [200, 403, 403]
        told = app.get("/metrics").json()["error"]
        assert told == "this key has no scope 'metrics', which this needs; it has 'infer'"
        assert [app.get("/nowhere").status_code, app.put("/v1/models").status_code] == [404, 405]
        assert app.put("/v2/logging").headers["allow"] == "GET, POST"


def test_a_tenant_knows_only_what_it_may_ask(server: Served) -> None:
    with server.client("narrow") as narrow, server.client("app") as app:
        known = [model["id"] for model in app.get("/v1/models").json()["data"]]
        assert known == ["echo", "identity", "slow", "twice", "vectors"]
        assert [model["id"] for model in narrow.get("/v1/models").json()["data"]] == ["echo", "identity"]
        index = narrow.post("/v2/repository/index").json()
        assert {entry["name"] for entry in index} == {"echo", "identity"}
        for path in ("/v2/models/slow", "/v2/models/slow/config", "/v2/models/slow/ready", "/v1/models/slow"):
            assert (narrow.get(path).status_code, app.get(path).status_code) == (403, 200)
        assert [infer(narrow, model).status_code for model in ("identity", "slow", "nothing")] == [200, 403, 403]
        assert "slow" not in narrow.get("/v2/models/nothing").text
        for model in ("slow", "nothing"):
            embeddings = narrow.post("/v1/embeddings", json={"model": model, "input": "x"})
            chat = narrow.post("/v1/chat/completions", json=CHAT | {"model": model})
            assert (embeddings.status_code, chat.status_code) == (403, 403)
            assert "twice" not in embeddings.text + chat.text


def test_openai_client(server: Served) -> None:
    def client(key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)

    with client(KEYS["other"]) as good:
        answer = good.chat.completions.create(model="echo", messages=CHAT["messages"], stream=True)  # type: ignore[call-overload]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)
    with client("by_unknown") as bad, pytest.raises(openai.AuthenticationError):
        bad.models.list()
    with client(KEYS["watch"]) as bad, pytest.raises(openai.PermissionDeniedError):
        bad.models.list()
    with client(KEYS["tight"]) as tight:
        for _ in range(2):
            tight.chat.completions.create(**CHAT)  # type: ignore[call-overload]
        with pytest.raises(openai.RateLimitError) as caught:
            tight.chat.completions.create(**CHAT)  # type: ignore[call-overload]
    headers = caught.value.response.headers
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"(\dh)?\d+m\d+s", headers["x-ratelimit-reset-requests"])
    assert int(headers["retry-after-ms"]) > 1000
    assert "may use 2 requests within 3600 s" in caught.value.message


def test_engine_seconds_are_measured_and_end(server: Served) -> None:
    with server.client("spent") as client:
        assert infer(client, "slow").status_code == 200
        answer = infer(client, "slow")
        assert (answer.status_code, "0.015 engine-seconds" in answer.json()["error"]) == (429, True)
        assert answer.headers["x-ratelimit-remaining-engine-seconds"] == "0"


def test_concurrency_is_bounded_and_given_back(server: Served) -> None:
    found: list[int] = []
    with server.client("busy") as client:

        def ask() -> None:
            found.append(infer(client, "slow").status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(found) == {200, 429}
        assert infer(client, "slow").status_code == 200
        assert usage(client)["running"] == 0


def test_an_ensemble_costs_all_its_steps_and_one_request(server: Served) -> None:
    with server.client("other") as client:
        before = usage(client)
        assert infer(client, "twice").status_code == 200
        after = usage(client)
    assert after["requests"] == before["requests"] + 1  # type: ignore[operator]
    spent = after["engine_seconds"] - before["engine_seconds"]  # type: ignore[operator]
    with server.client("other") as client:
        assert infer(client, "slow").status_code == 200
        single = usage(client)["engine_seconds"] - after["engine_seconds"]  # type: ignore[operator]
    assert spent >= 0.04
    assert 0.02 <= single < spent


def test_an_embeddings_call_of_several_parts_is_one_request(server: Served) -> None:
    with server.client("busy") as client:
        before = usage(client)
        answer = client.post("/v1/embeddings", json={"model": "vectors", "input": [[1, 2], [3], [4, 5, 6]]})
        assert answer.status_code == 200, answer.text
        after = usage(client)
    assert [one["embedding"] for one in answer.json()["data"]] == [[2], [1], [3]]
    assert after["requests"] == before["requests"] + 1  # type: ignore[operator]
    assert after["tokens"] == before["tokens"] + answer.json()["usage"]["total_tokens"]  # type: ignore[operator]
    assert after["engine_seconds"] > before["engine_seconds"]  # type: ignore[operator]


def test_generated_text_is_charged_its_usage(server: Served) -> None:
    with server.client("other") as client:
        before = usage(client)["tokens"]
        told = client.post("/v1/chat/completions", json=CHAT).json()["usage"]
        assert usage(client)["tokens"] - before == told["total_tokens"] > 0  # type: ignore[operator]
        streamed = client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        assert streamed.status_code == 200
        assert usage(client)["tokens"] - before == 2 * told["total_tokens"]  # type: ignore[operator]


def test_usage_is_ones_own_unless_numbers_may_be_seen(server: Served) -> None:
    with server.client("app") as app, server.client("watch") as watch, server.client("ops") as ops:
        infer(app, "identity")
        own = usage(app)
        assert (own["tenant"], own["max_concurrency"]) == ("app", None)
        (window,) = own["windows"]  # type: ignore[misc]
        assert (window["seconds"], window["requests"]["limit"]) == (3600, 1000)
        assert window["requests"]["used"] + window["requests"]["remaining"] == 1000
        assert 0 < window["requests"]["reset_seconds"] <= 7200
        assert app.get("/v1/usage", params={"tenant": "other"}).status_code == 403
        assert [usage(one, "app")["tenant"] for one in (watch, ops)] == ["app", "app"]
        everybody = watch.get("/v1/usage", params={"tenant": "*"}).json()["data"]
        assert {one["tenant"] for one in everybody} == KEYS.keys()
        assert watch.get("/v1/usage", params={"tenant": "nobody"}).status_code == 404
        text = watch.get("/metrics").text
        assert re.search(r'batchyard_tenant_requests_total\{tenant="app"\} \d', text)
        assert re.search(r'batchyard_tenant_engine_seconds_total\{tenant="app"\} \d', text)
        assert re.search(r'batchyard_tenant_refusals_total\{reason="scope",tenant="app"\} \d', text)


def test_the_page_says_who_may_ask_what(server: Served) -> None:
    with server.client() as client:
        page = client.get("/openapi.json").json()
    assert page["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert page["paths"]["/v1/embeddings"]["post"]["security"] == [{"bearer": ["infer"]}, {"key": ["infer"]}]
    assert page["paths"]["/v2/health/live"]["get"]["security"] == []
    assert page["paths"]["/v1/usage"]["get"]["security"] == [{"bearer": []}, {"key": []}]
    assert all("security" in one for path in page["paths"].values() for one in path.values())


async def test_a_caller_that_leaves_pays_for_what_was_done(server: Served) -> None:
    body = json.dumps(CHAT | {"stream": True, "messages": [{"role": "user", "content": "word " * 200}]}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: x",
        f"x-api-key: {KEYS['busy']}",
        f"content-length: {len(body)}",
    )
    head = "\r\n".join([*lines, "", ""])
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with closing(writer):
        writer.write(head.encode() + body)
        await reader.readuntil(b"data: ")
    await writer.wait_closed()
    with server.client("busy") as client:
        async with asyncio.timeout(10):
            while usage(client)["running"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert usage(client)["tokens"] > 0  # type: ignore[operator]


def test_no_key_is_in_the_log(server: Served) -> None:
    text = server.log.read_text()
    assert text
    assert [name for name, key in KEYS.items() if key in text] == []
