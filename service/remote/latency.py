"""How long a server takes, learned from its answers: a line over the requests that it had at once."""

FIRST_GUESS = 0.02
"""Seconds for a request, until an answer was seen."""
_WEIGHT = 0.05
"""Of a new answer in the running means: the last twenty count most."""
_PRIOR = 1.0
"""How much variance of the load it takes until its slope is believed half."""
_LEAST_SLOPE = 0.1
"""Of the prior's: more requests at once are never thought to be free."""
_P95 = 3.0
"""Mean deviations above the mean: 95 of 100 answers of an exponential or a normal distribution are sooner."""


class Latency:
    """Seconds = a + b * load, where load is the requests that a server has, the new one included.

    A regression of exponentially weighted means. Where the load hardly varied, the slope is that of a line through the
    origin, so that twice the requests take twice the time.
    """

    __slots__ = ("_covariance", "_deviation", "_load", "_seconds", "_seen", "_variance")

    def __init__(self) -> None:
        self._load = self._seconds = 0.0
        self._variance = self._covariance = 0.0
        self._deviation = 0.0
        self._seen = 0.0

    def learn(self, load: int, seconds: float) -> None:
        """An answer came after so many seconds, to a request that made the load so high."""
        error = abs(seconds - self.predict(load)) if self._seen else seconds / 2
        self._seen += 1
        weight = max(_WEIGHT, 1 / self._seen)
        more_load, more_seconds = load - self._load, seconds - self._seconds
        self._load += weight * more_load
        self._seconds += weight * more_seconds
        self._variance = (1 - weight) * (self._variance + weight * more_load * more_load)
        self._covariance = (1 - weight) * (self._covariance + weight * more_load * more_seconds)
        self._deviation += weight * (error - self._deviation)

    def forget(self, share: float) -> None:
        """Only this share of what was learned still counts against new answers."""
        self._seen = min(self._seen, 1 / _WEIGHT) * share

    def predict(self, load: int) -> float:
        """Seconds until an answer to a request that makes the load so high, on average."""
        if not self._seen:
            return FIRST_GUESS * load
        prior = self._seconds / self._load
        slope = (self._covariance + _PRIOR * prior) / (self._variance + _PRIOR)
        slope = min(max(slope, _LEAST_SLOPE * prior), prior)
        return self._seconds + slope * (load - self._load)

    def p95(self, load: int) -> float:
        """Seconds within which 95 of 100 answers are there."""
        seconds = self.predict(load)
        if not self._seen:
            return 2 * seconds
        return seconds + _P95 * self._deviation * seconds / self._seconds if self._seconds else seconds
