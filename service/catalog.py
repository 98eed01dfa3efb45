"""Names to what answers for them: models with their versions, and routes over models. Used on the event loop only."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engines.model_config import ModelConfig
from engines.tensor import Signature
from service import triton_words
from service.errors import ModelUnavailableError, NotFoundError
from service.routing.route import Route
from service.routing.served import Served
from service.types import ANYONE, NO_PREDICTION, ModelInfo, ModelState, Offer, Prediction, Tenant

COMES_BACK = 1.0
"""Seconds after which to ask a model again that cannot answer now, where nobody knows better: about what opening a
lost engine anew takes."""


def nothing() -> None:
    """Nothing was written to disk."""


@dataclass(slots=True)
class Model:
    """One entry of the repository. `versions`: those that are open; `reason`: why it cannot answer, "" if it can.

    `closed`: versions that it has, or had, while none is open; `state`: what is done to it then. `release`: removes
    what was written to disk for it; blocks.
    """

    name: str
    config: ModelConfig | None = None
    versions: dict[str, Served] = field(default_factory=dict)
    reason: str = ""
    closed: tuple[str, ...] = ()
    state: ModelState = "UNAVAILABLE"
    release: Callable[[], None] = nothing

    @property
    def newest(self) -> str:
        if len(self.versions) == 1:
            return next(iter(self.versions))
        return max(self.versions, key=int, default="")


@dataclass(slots=True)
class Catalog:
    """Everything that has a name. `changes`: how often a name came to mean something else."""

    models: dict[str, Model] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    changes: int = 0

    def show(self, model: Model) -> None:
        """From now on its name means this."""
        self.models[model.name] = model
        self.changes += 1

    def narrow(self, route: Route) -> None:
        """From now on its name means this."""
        self.routes[route.name] = route
        self.changes += 1

    def served(self, name: str, version: str = "") -> Served:
        """An open version of a model; raises `NotFoundError` or `ModelUnavailableError`."""
        model = self._model(name, version)
        served = model.versions.get(version or model.newest)
        if served is None:
            text = f"model {name!r} is unavailable: {model.reason}"
            raise ModelUnavailableError(text).as_triton(triton_words.not_loaded(name))
        return served

    def check(self, name: str, served: Served) -> None:
        """Raises `ModelUnavailableError` where a version that is open cannot answer now."""
        now = self.clock()
        fault = served.fault(now)
        if fault:
            text = f"model {name!r} is unavailable: {fault}"
            raise ModelUnavailableError(text, served.breaker.retry_after(now) or COMES_BACK)

    def newest(self, name: str) -> Served | None:
        """The newest open version of a model; None where none is open."""
        model = self.models.get(name)
        return model.versions[model.newest] if model and model.versions else None

    def _model(self, name: str, version: str) -> Model:
        model = self.models.get(name)
        if model is None:
            text = f"unknown model {name!r}; known are {', '.join(sorted([*self.models, *self.routes]))}"
            raise NotFoundError(text).as_triton(triton_words.unknown_model(name))
        if version and version not in model.versions and not model.reason:
            text = f"model {name!r} has no version {version!r}; served are {', '.join(model.versions)}"
            raise NotFoundError(text).as_triton(triton_words.unknown_model(name, version))
        return model

    @staticmethod
    def check_route_version(route: Route, version: str) -> None:
        """A route has one version, "1"; raises `NotFoundError`."""
        if version not in ("", "1"):
            raise NotFoundError(f"route {route.name!r} has no version {version!r}; leave it out or ask for a variant")

    def ready_variants(self, route: Route) -> list[Served]:
        """The variants of a route that can answer now, in its order."""
        now = self.clock()
        newest = (self.newest(name) for name in route.variants)
        return [served for served in newest if served and not served.fault(now)]

    def _reasons(self, route: Route) -> str:
        return "; ".join(f"{name}: {self.reason(name)}" for name in route.variants)

    def reason(self, name: str) -> str:
        """Why a model cannot answer; "" if it can."""
        model = self.models.get(name)
        if model is None:
            return "unknown model"
        served = self.newest(name)
        return served.fault(self.clock()) if served else model.reason or "not ready"

    def fault(self, name: str) -> str:
        """Why a request to this name would find nothing that answers; "" if it would."""
        route = self.routes.get(name)
        if route is not None:
            return "" if self.ready_variants(route) else _not_ready(route, self._reasons(route))
        try:
            self.check(name, self.served(name))
        except (ModelUnavailableError, NotFoundError) as error:
            return str(error)
        return ""

    def predict(self, name: str, cost: int, deadline: float, tenant: Tenant = ANYONE) -> Prediction:
        """When a request of such a cost and deadline would be answered: of a route, by its quickest variant."""
        route = self.routes.get(name)
        newest = self.newest(name)
        served = self.ready_variants(route) if route else [newest] if newest else []
        predictions = [one.replica.predict(cost, deadline, tenant) for one in served]
        return min(predictions, key=lambda prediction: prediction.p95, default=NO_PREDICTION)

    def breaker_states(self) -> list[tuple[str, str, int]]:
        """Model, version and state of the breaker (0 closed, 1 half-open, 2 open) of all that is open."""
        now = self.clock()
        return [
            (model.name, version, served.breaker.state(now))
            for model in list(self.models.values())
            for version, served in list(model.versions.items())
        ]

    def signature(self, name: str) -> Signature | None:
        """What the newest open version of a model takes and gives; None where none is open."""
        newest = self.newest(name)
        return newest.intake.signature if newest else None

    def offer(self, name: str, version: str = "") -> Offer | None:
        """What a model, or the variants of a route, take and give; None where none of them is open."""
        route = self.routes.get(name)
        for model in map(self.models.get, route.variants if route else (name,)):
            served = model.versions.get(model.newest if route else version or model.newest) if model else None
            if model and served:
                config, signature = model.config, served.intake.signature
                most = 0 if config and config.text else signature.max_batch_size
                return Offer(signature, config is not None and config.decoupled, most)
        return None

    def info(self, name: str, version: str = "") -> ModelInfo:
        """Describes a model or route; raises `NotFoundError`."""
        if name in self.routes:
            return self._route_info(self.routes[name], version)
        return self._model_info(self._model(name, version), version)

    def infos(self) -> Sequence[ModelInfo]:
        """All models and routes, unavailable ones included, by name."""
        return [self.info(name) for name in sorted([*self.models, *self.routes])]

    def _model_info(self, model: Model, version: str) -> ModelInfo:
        served = model.versions.get(version or model.newest)
        config = model.config
        reason = served.fault(self.clock()) if served else model.reason
        signature = served.intake.signature if served else _declared(config)
        return ModelInfo(
            name=model.name,
            versions=tuple(sorted(model.versions, key=int)),
            platform=(config.platform or config.backend) if config else "",
            backend=config.backend if config else "",
            signature=signature,
            ready=not reason,
            reason=reason,
            config=config,
            closed=() if model.versions else model.closed,
            state="UNAVAILABLE" if served else model.state,
        )

    def _route_info(self, route: Route, version: str) -> ModelInfo:
        self.check_route_version(route, version)
        ready = self.ready_variants(route)
        signature = ready[0].intake.signature if ready else Signature((), ())
        reason = "" if ready else self._reasons(route)
        return ModelInfo(
            route.name, ("1",), "batchyard_route", "", signature, bool(ready), reason, variants=route.variants
        )


def _not_ready(route: Route, reasons: str) -> str:
    return f"route {route.name!r} has no variant that is ready: {reasons}"


def _declared(config: ModelConfig | None) -> Signature:
    return config.signature if config else Signature((), ())
