"""The benchmark's own parts: its texts, its load, its table."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import load, report, texts

ROOT = Path(__file__).parents[1]


class _Recorder(BaseHTTPRequestHandler):
    """Answers 200 to /good and 400 to all else; its server keeps the bodies."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.bodies.add(self.rfile.read(int(self.headers["Content-Length"])))  # type: ignore[attr-defined]
        self.send_response(200 if self.path == "/good" else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def recorder() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Recorder)
    server.bodies = set()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(not load.is_available(), reason=load.MISSING)
@pytest.mark.parametrize(("path", "good"), [("good", True), ("bad", False)])
def test_load_cycles_through_all_bodies_and_counts_refusals(
    recorder: HTTPServer, tmp_path: Path, path: str, good: bool
) -> None:
    bodies = [json.dumps({"text": f'"{number} \u20ac\n'}).encode() for number in range(20)]
    load.write_bodies(bodies, tmp_path / "bodies")
    seen = load.run(f"http://127.0.0.1:{recorder.server_port}/{path}", tmp_path / "bodies", 1, 1)
    assert recorder.bodies == set(bodies)  # type: ignore[attr-defined]
    assert (seen.per_second > 0) is good
    assert (seen.errors == 0) is good


def test_made_up_texts_are_as_long_as_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "BANKING77", ROOT / "absent.csv")
    made_up = texts.load_texts(2000)
    words = sorted(len(text.split()) for text in made_up)
    assert made_up == texts.load_texts(2000)
    assert 10 < sum(words) / len(words) < 14
    assert 23 < words[1900] < 32
    assert words[-1] <= 70


def test_real_texts_are_shuffled_alike_each_time(banking77: Path) -> None:
    first = texts.load_texts(50)
    assert first == texts.load_texts(50)
    in_order = (banking77 / "dev.csv").read_text("utf-8")
    assert [in_order.find(text) for text in first] != sorted(in_order.find(text) for text in first)


def test_table_and_file_hold_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    rows = [report.Row("engine alone", 1500.0, (1400.0, 1500.0, 1600.0), 1.0)]
    rows.append(report.Row("gateway", 1200.0, (1200.0,), 0.8, 1.5, 9.25, 0.071, 3))
    shown = io.StringIO()
    report.show(Console(file=shown, width=120), rows, ["a note"])
    gateway = next(line for line in shown.getvalue().splitlines() if "gateway" in line)
    assert gateway.split() == ["gateway", "1,200", "1200", "0.80", "1.50", "9.25", "7.1%", "3"]
    saved = json.loads(report.save(rows, ["a note"]).read_text())
    assert [row["per_second"] for row in saved["rows"]] == [1500.0, 1200.0]
    assert saved["notes"] == ["a note"]
