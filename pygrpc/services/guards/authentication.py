"""Who calls, and what that one may call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo

from pygrpc import StatusCode, aio
from pygrpc.services.errors import RequestError
from pygrpc.services.guards.calls import DOMAIN, Details, GuardError, Identity, entered, refused
from pygrpc.services.guards.certificates import Certificates
from pygrpc.services.guards.patterns import MethodTable
from pygrpc.services.guards.tokens import Tokens, unauthenticated

#: The methods of the standard services that usually need no caller.
HEALTH = ("/grpc.health.v1.Health/*",)
REFLECTION = ("/grpc.reflection.v1.ServerReflection/*", "/grpc.reflection.v1alpha.ServerReflection/*")

_KEY = "authorization"
# The client has chosen it, and it comes back in the trailers, which have little room.
_METHOD_SHOWN = 256


class Access:
    """Which roles may call which methods."""

    def __init__(self, roles: Mapping[str, Collection[str]] | None = None, *, public: Collection[str] = HEALTH) -> None:
        """Makes the rules.

        Args:
            roles: For a method, `/package.Service/Method`, for the methods of a service, `/package.Service/*`, or for
                all, `*`, the roles of which a caller needs one; none at all means whoever is known. The most exact rule
                counts, and a method without a rule may be called by nobody. Without this table everybody who is known
                may call everything.
            public: The methods that may be called by anybody, in the same form.

        Raises:
            GuardError: Something is no method.
        """
        for pattern, needed in (roles or {}).items():
            if isinstance(needed, str):
                raise GuardError(f"the roles of {pattern} must be a collection of texts, and are one text")
        given: Mapping[str, Collection[str]] = {"*": ()} if roles is None else roles
        self._roles = MethodTable({pattern: frozenset(needed) for pattern, needed in given.items()})
        self._public = MethodTable(dict.fromkeys(public, True))

    def is_public(self, method: str) -> bool:
        """Whether anybody may call a method."""
        return self._public.get(method) is True

    def refusal(self, method: str, identity: Identity | None) -> RequestError | None:
        """Returns why a method that is not public may not be called by somebody; None if it may."""
        if identity is None:
            return unauthenticated("CREDENTIALS_MISSING", "the call needs an authorization, such as a bearer token")
        needed = self._roles.get(method)
        if needed is None:
            return _denied("METHOD_CLOSED", method, "nobody may call this method")
        if needed and needed.isdisjoint(identity.roles):
            return _denied("ROLE_MISSING", method, "the caller has no role that may call this method")
        return None


class Authentication(aio.ServerInterceptor):
    """Lets calls pass whose caller is known and may make them.

    Callers are known by the metadata `authorization: Bearer ...`, or, without these, by their certificate. Handlers
    find them by `current_identity()`. Public methods may be called with any credentials, or none.
    """

    def __init__(
        self,
        tokens: Sequence[Tokens] = (),
        *,
        certificates: Certificates | None = None,
        access: Access | None = None,
    ) -> None:
        """Makes the guard.

        Args:
            tokens: Those who know bearer tokens; the first one that knows a token counts.
            certificates: Knows the certificates of clients.
            access: Who may call what; everybody who is known may call everything if it is None.

        Raises:
            GuardError: There is nothing to know callers by.
        """
        if not tokens and certificates is None:
            raise GuardError("authentication needs tokens or certificates to know callers by")
        self._tokens = tuple(tokens)
        self._certificates = certificates
        self._access = access or Access()

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Finds out who calls, and refuses the call if that one may not."""
        call = entered(handler_call_details)
        method = call.details.method
        public = self._access.is_public(method)
        refusal = None
        try:
            call.identity = self._identify(call.details)
        except RequestError as error:
            refusal = error
        if not public:
            refusal = refusal or self._access.refusal(method, call.identity)
            if refusal is not None:
                return refused(call, refusal)
        return await continuation(handler_call_details)

    def _identify(self, details: Details) -> Identity | None:
        found = [value for key, value in details.invocation_metadata if key == _KEY]
        if not found:
            return None if self._certificates is None else self._certificates.identify(details.auth_context())
        scheme, _, token = found[0].partition(" ") if isinstance(found[0], str) else ("", "", "")
        # RFC 6750, section 2.1; RFC 9110, section 11.1: the name of the scheme in any case.
        if len(found) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise unauthenticated("CREDENTIALS_MALFORMED", "the authorization must be one 'Bearer' and a token")
        for known in self._tokens:
            identity = known.identify(token.strip())
            if identity is not None:
                return identity
        raise unauthenticated("TOKEN_UNKNOWN", "the token is not known")


def _denied(reason: str, method: str, message: str) -> RequestError:
    info = ErrorInfo(reason=reason, domain=DOMAIN, metadata={"method": method[:_METHOD_SHOWN]})
    return RequestError(StatusCode.PERMISSION_DENIED, message, info)
