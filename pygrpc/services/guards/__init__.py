"""Guards of a server: interceptors for `pygrpc.aio.server`, each of which can be used alone."""

from pygrpc.services.guards.authentication import HEALTH, REFLECTION, Access, Authentication
from pygrpc.services.guards.buckets import Rate
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
