"""Names to what answers for them: models with their versions, and routes over models. Used on the event loop only."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.model_config import ModelConfig
from engines.tensor import Signature
from service.errors import ModelUnavailableError, NotFoundError
from service.intake import Intake
from service.routing.policies import Policy
from service.routing.replica import Replica
from service.types import ModelInfo


@dataclass(frozen=True, slots=True)
class Served:
    """One version of a model, open."""

    intake: Intake
    replica: Replica


@dataclass(slots=True)
class Model:
    """One entry of the repository. `versions`: those that are open; `reason`: why it cannot answer, "" if it can."""

    name: str
    config: ModelConfig | None = None
    versions: dict[str, Served] = field(default_factory=dict)
    reason: str = ""

    @property
    def newest(self) -> str:
        return max(self.versions, key=int, default="")


@dataclass(frozen=True, slots=True)
class Route:
    """A name over variants. All variants take and give the same tensors."""

    name: str
    variants: tuple[str, ...]
    policy: Policy


@dataclass(slots=True)
class Catalog:
    """Everything that has a name."""

    models: dict[str, Model] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)

    def find(self, name: str, version: str = "") -> Served:
        """What answers for a model or route; raises `NotFoundError` or `ModelUnavailableError`."""
        route = self.routes.get(name)
        return self._of_route(route, version) if route else self._of_model(name, version)

    def _of_model(self, name: str, version: str) -> Served:
        model = self._model(name, version)
        served = model.versions.get(version or model.newest)
        if served is None or served.replica.fault:
            reason = served.replica.fault if served else model.reason
            raise ModelUnavailableError(f"model {name!r} is unavailable: {reason}")
        return served

    def _model(self, name: str, version: str) -> Model:
        model = self.models.get(name)
        if model is None:
            raise NotFoundError(f"unknown model {name!r}; known are {', '.join(sorted([*self.models, *self.routes]))}")
        if version and version not in model.versions and not model.reason:
            raise NotFoundError(f"model {name!r} has no version {version!r}; served are {', '.join(model.versions)}")
        return model

    def _of_route(self, route: Route, version: str) -> Served:
        self._check_route_version(route, version)
        ready = self.ready_variants(route)
        if not ready:
            raise ModelUnavailableError(f"route {route.name!r} has no variant that is ready: {self._reasons(route)}")
        if len(ready) == 1:
            return ready[0]
        chosen = route.policy([served.replica for served in ready])
        return next(served for served in ready if served.replica is chosen)

    @staticmethod
    def _check_route_version(route: Route, version: str) -> None:
        if version not in ("", "1"):
            raise NotFoundError(f"route {route.name!r} has no version {version!r}; leave it out or ask for a variant")

    def ready_variants(self, route: Route) -> list[Served]:
        """The variants of a route that can answer now, in its order."""
        models = (self.models.get(name) for name in route.variants)
        newest = (model.versions[model.newest] for model in models if model and model.versions)
        return [served for served in newest if not served.replica.fault]

    def _reasons(self, route: Route) -> str:
        return "; ".join(f"{name}: {self._reason(name)}" for name in route.variants)

    def _reason(self, name: str) -> str:
        model = self.models.get(name)
        return "unknown model" if model is None else model.reason or "not ready"

    def fault(self, name: str) -> str:
        """Why a request to this name would find nothing that answers; "" if it would."""
        try:
            self.find(name)
        except (ModelUnavailableError, NotFoundError) as error:
            return str(error)
        return ""

    def signature(self, name: str) -> Signature | None:
        """What the newest open version of a model takes and gives; None where none is open."""
        model = self.models.get(name)
        return model.versions[model.newest].intake.signature if model and model.versions else None

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
        reason = served.replica.fault if served else model.reason
        signature = served.intake.signature if served else _declared(config)
        return ModelInfo(
            name=model.name,
            versions=tuple(sorted(model.versions, key=int)),
            platform=config.platform if config else "",
            backend=config.backend if config else "",
            signature=signature,
            ready=not reason,
            reason=reason,
            config=config,
        )

    def _route_info(self, route: Route, version: str) -> ModelInfo:
        self._check_route_version(route, version)
        ready = self.ready_variants(route)
        signature = ready[0].intake.signature if ready else Signature((), ())
        reason = "" if ready else self._reasons(route)
        return ModelInfo(
            route.name, ("1",), "batchyard_route", "", signature, bool(ready), reason, variants=route.variants
        )


def _declared(config: ModelConfig | None) -> Signature:
    return Signature(config.inputs, config.outputs, config.max_batch_size) if config else Signature((), ())
