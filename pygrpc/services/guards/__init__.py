"""Guards of a server: who calls, how often, under which id; what is logged, counted and kept.

Each is an interceptor for `pygrpc.aio.server`, and can be used alone. Together they stand in this order, because each
sees only what those before it let pass::

    server = pygrpc.aio.server(interceptors=[
        RequestIds(), AccessLog(), Metrics(), Authentication(...), RateLimit(...), Cache(...)
    ])

See docs/guards.md.
"""

from pygrpc.services.buckets import Rate
from pygrpc.services.guards.authentication import HEALTH, REFLECTION, Access, Authentication
from pygrpc.services.guards.cache import Cache, Cached
from pygrpc.services.guards.calls import GuardError, Identity, current_identity, current_request_id, identified
from pygrpc.services.guards.certificates import Certificates
from pygrpc.services.guards.jwt_tokens import JwtTokens
from pygrpc.services.guards.logs import AccessLog, JsonFormatter
from pygrpc.services.guards.metrics import Metrics, methods_of
from pygrpc.services.guards.metrics_endpoint import MetricsEndpoint
from pygrpc.services.guards.rates import RateLimit
from pygrpc.services.guards.request_ids import PropagatedRequestIds, RequestIds
from pygrpc.services.guards.tokens import StaticTokens, Tokens

__all__ = [
    "HEALTH",
    "REFLECTION",
    "Access",
    "AccessLog",
    "Authentication",
    "Cache",
    "Cached",
    "Certificates",
    "GuardError",
    "Identity",
    "JsonFormatter",
    "JwtTokens",
    "Metrics",
    "MetricsEndpoint",
    "PropagatedRequestIds",
    "Rate",
    "RateLimit",
    "RequestIds",
    "StaticTokens",
    "Tokens",
    "current_identity",
    "current_request_id",
    "identified",
    "methods_of",
]
