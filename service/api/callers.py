"""Who calls, in the scope of an ASGI call."""

from starlette.types import Scope

from service.types import ANYONE, Tenant

_TENANT = "batchyard.tenant"


def tenant_of(scope: Scope) -> Tenant:
    """Who calls, as the check of keys found out; anyone, where nobody is told apart."""
    tenant: Tenant = scope.get(_TENANT, ANYONE)
    return tenant


def set_tenant(scope: Scope, tenant: Tenant) -> None:
    """From now on it is known who calls."""
    scope[_TENANT] = tenant
