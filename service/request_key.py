"""The key by which the answer to a request of tensors is found again."""

import struct
from hashlib import sha256

from service.cache.key import framed, key_of, parameters_field, tensors_field, word
from service.catalog import Catalog
from service.digests import Digests, Looks
from service.generating import GenerateRequest
from service.types import InferRequest

_KIND = b"tensors"
_QUALITY = struct.Struct("<d")
_PRIORITY = struct.Struct("<q")


class RequestKeys:
    """Used on the event loop only."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._digests = Digests(catalog)
        self._changes = catalog.changes
        self._askings: dict[tuple[str, str, str], tuple[bytes, Looks]] = {}

    def of(self, request: InferRequest) -> bytes | None:
        """All that changes the answer: who asks, whom, and what. None where nothing is open by this name.

        Not in it are the request's id, its deadline, and, but where a route's rules look at it, its priority.
        """
        hints = request.hints
        asking = self._asking(hints.tenant.name, request.model, request.version)
        if asking is None:
            return None
        if not request.content:
            request.content = content_of(request)
        asker, looks = asking
        fields = [_KIND, asker, request.content, self._wanted(request) if request.outputs else b""]
        if hints.variant or hints.min_quality or looks:
            fields += word(hints.variant), _QUALITY.pack(hints.min_quality), looked_field(looks, request)
        return key_of(fields)

    def _asking(self, tenant: str, model: str, version: str) -> tuple[bytes, Looks] | None:
        """Who asks whom, with the digest of what stands behind the name, and what routes there look at; worked out anew
        when the catalog changes."""
        if self._changes != self._catalog.changes:
            self._changes = self._catalog.changes
            self._askings.clear()
        known = self._askings.get((tenant, model, version))
        digest = self._digests.of(model, version) if known is None else None
        if digest is not None:
            asker = framed((word(tenant), word(model), word(version), digest))
            known = self._askings[tenant, model, version] = asker, self._digests.looks(model)
        return known

    def _wanted(self, request: InferRequest) -> bytes:
        """The outputs, in any order; who names all of them wants what one wants who names none."""
        offer = self._catalog.offer(request.model, request.version)
        wanted = frozenset(request.outputs)
        if offer is not None and wanted == {spec.name for spec in offer.signature.outputs}:
            return b""
        return framed([word(name) for name in sorted(wanted)])


def content_of(request: InferRequest) -> bytes:
    """See `InferRequest.content`."""
    return sha256(framed((tensors_field(request.inputs), parameters_field(request.parameters)))).digest()


def looked_field(looks: Looks, request: InferRequest | GenerateRequest) -> bytes:
    """What the routes behind a name see of a request beside its content."""
    given = request.hints.headers
    fields = [part for name in looks.headers if name in given for part in (name, given[name])]
    if looks.priority:
        fields.append(_PRIORITY.pack(request.priority))
    return framed(fields)
