"""How well answers were predicted, for one version of one model, as Prometheus sees it."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.batching.calibration import Calibration

Key = tuple[str, str]
LABELS = ("model", "version")


class PredictionsCollector(Collector):
    """Turns calibrations into prometheus_client's families at scrape time. The caller holds the lock."""

    def __init__(self, calibrations: Mapping[Key, Calibration]) -> None:
        self._calibrations = calibrations

    def collect(self) -> Iterator[Metric]:
        made = CounterMetricFamily(
            "batchyard_predictions", "Requests whose time was predicted, and that came to their end", labels=LABELS
        )
        within = CounterMetricFamily(
            "batchyard_predictions_within_p95", "Of them, those answered within the predicted p95", labels=LABELS
        )
        share = GaugeMetricFamily(
            "batchyard_prediction_calibration", "Share of the last answers within the predicted p95", labels=LABELS
        )
        for key, one in self._calibrations.items():
            made.add_metric(key, one.predictions)
            within.add_metric(key, one.within)
            if one.predictions:
                share.add_metric(key, one.share)
        yield made
        yield within
        yield share
