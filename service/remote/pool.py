"""Which server is asked next, and which are left alone. Pure: no input, no output but the log, the clock is given."""

import logging
from collections.abc import Callable, Collection

from engines.errors import EngineBusyError, EngineUnreachableError
from service.remote.endpoint import Endpoint
from service.types import NO_PREDICTION, Prediction

LOGGER = logging.getLogger("batchyard.remote")

FAILURES = 5
"""Failures in a row after which a server that answers its probes is left alone for a while, where there are others."""
FAILING_FOR = 1.0
"""Seconds that such a row must last at least: a burst of bad requests makes no server ill."""
HALF_LIFE = 20.0
"""Seconds without an answer in which what was learned of a server loses half its worth."""
LONGEST_PAUSE = 30.0
FIRST_PAUSE = 1.0


class Pool:
    """The servers of one model. Used on the event loop. `most`: requests that each is given at once."""

    def __init__(self, name: str, most: int, clock: Callable[[], float]) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._name = name
        self._most = most
        self._clock = clock

    @property
    def fault(self) -> str:
        """Why none can be asked; "" if one can."""
        if any(endpoint.up for endpoint in self.endpoints.values()):
            return ""
        reasons = "; ".join(f"{one.url}: {one.fault}" for one in self.endpoints.values() if one.fault)
        return f"none of its servers can be asked: {reasons}" if reasons else "its name has no address now"

    def choose(self, without: Collection[Endpoint] = ()) -> Endpoint:
        """The server that is predicted to answer first; raises `EngineUnreachableError` where there is none but those
        that are left out, `EngineBusyError` where each has all that it may have."""
        left = [endpoint for endpoint in self.endpoints.values() if endpoint.up and endpoint not in without]
        if not left:
            raise EngineUnreachableError(self.fault or "no other of its servers can be asked")
        free = [endpoint for endpoint in left if endpoint.in_flight < self._most]
        if not free:
            text = f"each of its {len(left)} servers has {self._most} requests already; come back later"
            raise EngineBusyError(text, min(one.latency.predict(one.in_flight) / one.in_flight for one in left))
        return min(free, key=self._finish)

    def predict(self) -> Prediction:
        """When the server that would be chosen is thought to answer. What waits, waits there: it is no queue here."""
        up = [endpoint for endpoint in self.endpoints.values() if endpoint.up]
        if not up:
            return NO_PREDICTION
        best = min(up, key=lambda one: one.latency.predict(one.in_flight + 1))
        load = best.in_flight + 1
        return Prediction(0.0, best.latency.predict(load), best.latency.p95(load))

    def answered(self, endpoint: Endpoint, load: int, seconds: float) -> None:
        """It answered a request that made its load so high, after so many seconds."""
        endpoint.heard = self._clock()
        endpoint.latency.forget(self._doubt(endpoint))
        endpoint.latency.learn(load, seconds)
        endpoint.learned = endpoint.heard
        endpoint.failures = endpoint.lost_probes = 0
        endpoint.pause = FIRST_PAUSE

    def failed(self, endpoint: Endpoint, said: str) -> None:
        """It could be reached, but failed on a request."""
        now = self._clock()
        if not endpoint.failures:
            endpoint.failing_since = now
        endpoint.failures += 1
        others = any(other.up for other in self.endpoints.values() if other is not endpoint)
        if others and endpoint.failures >= FAILURES and now - endpoint.failing_since >= FAILING_FOR:
            endpoint.until = now + endpoint.pause
            endpoint.pause = min(2 * endpoint.pause, LONGEST_PAUSE)
            endpoint.failures = 0
            self.eject(endpoint, f"{FAILURES} requests in a row failed there, the last one: {said}")

    def eject(self, endpoint: Endpoint, reason: str) -> None:
        """Gives it no more requests until `readmit`, and has it probed at once."""
        if not endpoint.fault:
            endpoint.ejections += 1
            endpoint.wake.set()
            LOGGER.warning("model %s no longer asks %s: %s", self._name, endpoint.url, reason)
        endpoint.fault = reason

    def cut(self, endpoint: Endpoint) -> None:
        """Gives up what it was asked, to be asked elsewhere; where there is nobody else, it may yet answer."""
        if any(other.up for other in self.endpoints.values() if other is not endpoint):
            endpoint.cut()

    def readmit(self, endpoint: Endpoint) -> None:
        """A probe found it well: gives it requests again, unless it is to be left alone for longer."""
        endpoint.lost_probes = 0
        endpoint.heard = self._clock()
        if endpoint.fault and endpoint.heard >= endpoint.until:
            LOGGER.info("model %s asks %s", self._name, endpoint.url)
            endpoint.fault = ""

    def _finish(self, endpoint: Endpoint) -> tuple[float, int]:
        """By when it would answer one more request; between equals, whoever was asked less. An idle server is thought
        to be ever quicker: so each is tried now and then, and a slow answer is not held against it for good."""
        seconds = endpoint.latency.predict(endpoint.in_flight + 1)
        return seconds if endpoint.in_flight else seconds * self._doubt(endpoint), endpoint.asked

    def _doubt(self, endpoint: Endpoint) -> float:
        """What is left of the worth of its last answer: 1 at once, a half after `HALF_LIFE`."""
        return float(0.5 ** ((self._clock() - endpoint.learned) / HALF_LIFE))
