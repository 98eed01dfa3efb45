import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.route_settings import RouteSettings
from service.settings import InvalidSettingsError, PipelineSettings, Settings, flag_of, load_settings

Write = Callable[[str], Path]
PIPELINE = {"model": "writer", "classifier": "topic", "system": "Be brief.", "policies": "a.toml"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, so that no gateway.toml is found by chance."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return path

    return _write


def test_defaults() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.max_body_bytes) == ("127.0.0.1", 8000, 67_108_864)
    assert settings.model_repository == [Path("model_repository")]
    assert settings.models == []
    assert (settings.generation_timeout_ms, settings.stream_buffer) == (600_000, 1024)
    assert settings.routes == {}
    assert settings.pipelines == {}


def test_command_line_wins_over_environment_over_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write('port = 1\nhost = "file"\nlog_level = "error"')
    monkeypatch.setenv("BATCHYARD_PORT", "2")
    monkeypatch.setenv("BATCHYARD_HOST", "environment")
    settings = load_settings({"port": "3"})
    assert (settings.port, settings.host, settings.log_level) == (3, "environment", "error")


def test_every_setting_can_come_from_each_source(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = """
        model_repository = ["a", "b"]
        models = ["x", "y"]
        host = "::1"
        open_to_network = "without keys"
        port = 9
        log_level = "debug"
        max_body_bytes = 9
        max_json_bytes = 9
        default_timeout_ms = 9
        generation_timeout_ms = 9
        max_queue_size = 9
        stream_buffer = 9
        cores = 9
        drain_seconds = 9
        shutdown_grace_seconds = 9
        allow_control = true
        trace_file = "trace.json"
        header_forward_pattern = "^x-"
        grpc = false
        grpc_port = 9
        max_grpc_streams = 9
        compat = "triton"
        tls_certificate = "9"
        tls_key = "9"
        tls_client_ca = "9"
        routes.minilm.variants = ["x"]
        cache.ttl_seconds = 9
        semantic.help-desk = { encoder = "minilm", classifier = "topic" }
        redis.timeout_ms = 9
        limits.max_headers = 9
        tenants.app.keys = ["%s"]
        [pipelines.help-desk]
        model = "writer"
        classifier = "topic"
        system = "Be brief."
        policies = "a.toml"
    """
    digest = "0" * 64
    text = {
        "model_repository": "a,b",
        "models": "x, y",
        "host": "::1",
        "open_to_network": "without keys",
        "log_level": "debug",
        "allow_control": "true",
        "grpc": "false",
        "compat": "triton",
        "trace_file": "trace.json",
        "header_forward_pattern": "^x-",
        "routes": '{"minilm": {"variants": ["x"]}}',
        "pipelines": json.dumps({"help-desk": PIPELINE}),
        "cache": '{"ttl_seconds": 9}',
        "semantic": '{"help-desk": {"encoder": "minilm", "classifier": "topic"}}',
        "redis": '{"timeout_ms": 9}',
        "limits": '{"max_headers": 9}',
        "tenants": json.dumps({"app": {"keys": [digest]}}),
    }
    text |= {name: "9" for name in Settings.model_fields if name not in text}
    expected = load_settings(text)
    assert expected.models == ["x", "y"]
    assert expected.routes == {"minilm": RouteSettings.model_validate({"variants": ["x"]})}
    wanted = PipelineSettings(model="writer", classifier="topic", system="Be brief.", policies=Path("a.toml"))
    assert expected.pipelines == {"help-desk": wanted}
    assert (wanted.least_confidence, wanted.excerpt_bytes) == (0.4, 250)
    assert load_settings({}, write(file % digest)) == expected
    write("")
    for name, value in text.items():
        monkeypatch.setenv(f"BATCHYARD_{name.upper()}", value)
    assert load_settings({}) == expected


def test_config_file_is_named_by_flag_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.toml").write_text("port = 1")
    (tmp_path / "two.toml").write_text("port = 2")
    monkeypatch.setenv("BATCHYARD_CONFIG", "one.toml")
    assert load_settings({}).port == 1
    assert load_settings({}, Path("two.toml")).port == 2


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("prot = 1", "gateway.toml: prot: unknown key; did you mean 'port'?"),
        (
            "routes.a.varients = ['x']\nroutes.a.variants = ['x']",
            "gateway.toml: routes.a.varients: unknown key; did you",
        ),
        ("port = 'x'", "gateway.toml: port: found 'x'; wanted a valid integer"),
        (
            "routes.a.policy = 'best'\nroutes.a.variants = ['x']",
            "policy: found 'best'; wanted 'ordered', 'fastest' or ",
        ),
        ("models = [1]", "gateway.toml: models.0: found 1; wanted a valid string"),
        (
            "pipelines.a = {modle = 'x', classifier = 'y', system = 'z', policies = 'p', model = 'm'}",
            "did you mean 'mod",
        ),
        (
            "pipelines.a = {classifier = 'y', system = 'z', policies = 'p'}",
            "gateway.toml: pipelines.a.model: is missing",
        ),
        ("port = ", "gateway.toml: cannot be read as TOML: "),
        ("header_forward_pattern = '('", "header_forward_pattern: found '('; wanted a regular expression ("),
        (
            f"tenants.a.keys = ['{'0' * 64}']\ntenants.b.keys = ['{'0' * 64}']",
            "wanted every key at one tenant, found 00000000... at 'a' and 'b'",
        ),
        (f"tenants.'a b'.keys = ['{'0' * 64}']", "wanted a tenant's name of letters, digits, '.', '_' and '-', at mos"),
        (
            f"tenants.a = {{keys = ['{'0' * 64}'], limits = [{{seconds = 9}}, {{seconds = 9}}]}}",
            "wanted one window of each length, found several of 9 s",
        ),
        ("trace_file = 'nowhere/t.json'", "found 'nowhere/t.json'; wanted a file in a folder that exists"),
    ],
)
def test_faults_of_the_file_name_place_finding_and_remedy(write: Write, toml: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings({}, write(toml))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_faults_of_flag_and_environment_name_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_ROUTES", "{")
    monkeypatch.setenv("BATCHYARD_CORES", "-1")
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings({"max_body_bytes": "0"})
    body, cores, routes = sorted(str(caught.value).splitlines(), key=len)
    assert cores == "BATCHYARD_CORES: found '-1'; wanted greater than or equal to 0"
    assert body == "--max-body-bytes: found '0'; wanted greater than 0"
    assert routes.startswith("BATCHYARD_ROUTES: found '{'; wanted JSON (")


def test_a_pipeline_of_pipelines_is_refused() -> None:
    nested = {"help-desk": PIPELINE, "outer": PIPELINE | {"model": "help-desk"}}
    with pytest.raises(
        InvalidSettingsError, match="pipeline 'outer' asks 'help-desk', a pipeline; wanted a model or r"
    ):
        load_settings({"pipelines": nested})


def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHYARD_MODEL", "x")
    with pytest.raises(
        InvalidSettingsError, match="BATCHYARD_MODEL: unknown variable; did you mean 'BATCHYARD_MODELS'"
    ):
        load_settings({})


def test_missing_config_file_is_refused() -> None:
    with pytest.raises(InvalidSettingsError, match=r"--config: found no file 'absent.toml'"):
        load_settings({}, Path("absent.toml"))


def test_shipped_file_is_valid_and_names_every_setting() -> None:
    shipped = Path(__file__).parents[2] / "gateway.toml"
    assert load_settings({}, shipped).routes["minilm"].variants[0].model == "minilm_openvino"
    assert load_settings({}, shipped).pipelines["bank-assistant"].model == "assistant"
    assert [name for name in Settings.model_fields if name not in shipped.read_text()] == []


def test_flag_of() -> None:
    assert flag_of("max_body_bytes") == "--max-body-bytes"


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("tenants", '{"app": {"keys": ["by_secret"]}}', "--tenants.app.keys.0: found what is not shown"),
        ("tenants", '{"app": {"keys": "by_secret"}}', "--tenants.app.keys: found what is not shown"),
        ("tenants", '{"app": "by_secret"}', "--tenants.app: found what is not shown"),
        ("tenants", '{"app": {"keys": ["by_secret"]', "--tenants: found what is not shown"),
        ("redis", '{"url": "redis//:by_secret@host"}', "--redis.url: found what is not shown"),
        ("redis", '{"url": "redis://:by_secret@host"', "--redis: found what is not shown"),
        ("redis", '{"url": "", "timeout_ms": -1}', "--redis.timeout_ms: found -1"),
    ],
)
def test_no_fault_shows_a_key_or_a_password(field: str, text: str, told: str) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings({field: text})
    assert str(caught.value).startswith(told)
    assert "by_secret" not in str(caught.value)
