"""Y = X, counted: requests, the largest value and how the values are distributed."""

import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """X FP32 [1] -> Y FP32 [1]; not batched."""

    def initialize(self, args):
        """Makes the metrics."""
        family = pb_utils.MetricFamily
        labels = {"model": args["model_name"]}
        self._families = [
            family("seen", "Requests", family.COUNTER),
            family("seen", "Requests", family.COUNTER),
            family("last", "Last value", family.GAUGE),
            family(name="values", description="Values", kind=family.HISTOGRAM),
        ]
        seen, again, last, values = self._families
        self._requests = seen.Metric(labels)
        self._same = again.Metric(labels)
        self._last = last.Metric(labels={"a": 'quo"te\n'})
        self._values = values.Metric(buckets=[1.0, 2.5])
        self._others = values.Metric(labels={"of": "other buckets"}, buckets=[3, float("inf")])
        if "refuse" in json.loads(args["model_config"])["parameters"]:
            self._log_refusals()

    def _log_refusals(self):
        family = pb_utils.MetricFamily
        acts = [
            _refusal(lambda: self._requests.increment(-1)),
            _refusal(lambda: self._requests.set(1)),
            _refusal(lambda: self._last.observe(1)),
            _refusal(lambda: self._values.value()),
            _refusal(lambda: family("seen", "", family.GAUGE)),
            _refusal(lambda: family("a b", "", family.GAUGE)),
            _refusal(lambda: family("h", "", family.HISTOGRAM).Metric(buckets=[2, 1])),
            _refusal(lambda: family("h", "", family.HISTOGRAM).Metric()),
            _refusal(lambda: family("g", "", family.GAUGE).Metric({"a": 1})),
            _refusal(lambda: family("h", "", family.HISTOGRAM).Metric(buckets=[float("nan")])),
            _refusal(lambda: family("h", "", family.HISTOGRAM).Metric({"le": "1"}, [1])),
        ]
        for act in acts:
            pb_utils.Logger.log_info(act)

    def execute(self, requests):
        """One response a request."""
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            self._same.increment(1)
            self._last.set(float(x[0]))
            self._values.observe(float(x[0]))
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", 0 * x + self._requests.value())]))
        return responses


def _refusal(act):
    try:
        act()
    except pb_utils.TritonModelException as error:
        return str(error)
    return "not refused"
