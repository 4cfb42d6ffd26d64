"""The names of ``grpc.experimental``: calls without a channel, and what goes with them."""

import enum
import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pygrpc.credentials import ChannelCredentials, ChannelDescription, Unavailable, insecure_channel_credentials
from pygrpc.handlers import RpcMethodHandler

__all__ = [
    "ChannelOptions",
    "ExperimentalApiWarning",
    "UsageError",
    "insecure_channel_credentials",
    "ssl_channel_credentials_with_custom_signer",
    "stream_stream",
    "stream_unary",
    "unary_stream",
    "unary_unary",
    "wrap_server_method_handler",
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_warned: set[str] = set()


class ChannelOptions:
    """Options of channels that are Python's own.

    Attributes:
        SingleThreadedUnaryStream: Calls with a stream of responses have no thread but the one that iterates.
    """

    SingleThreadedUnaryStream = "SingleThreadedUnaryStream"


class UsageError(Exception):
    """The API was used in a way that it doesn't allow."""


class ExperimentalApiWarning(Warning):
    """An API is experimental."""


def experimental_api(f: Callable[_P, _R]) -> Callable[_P, _R]:
    """Makes a function warn, once in a process, that it is experimental.

    Args:
        f: The function.
    """

    @functools.wraps(f)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if f.__name__ not in _warned:
            _warned.add(f.__name__)
            text = f"{f.__name__!r} is an experimental API. It is subject to change or removal between minor releases."
            warnings.warn(f"{text} Proceed with caution.", ExperimentalApiWarning, stacklevel=2)
        return f(*args, **kwargs)

    return wrapper


def wrap_server_method_handler(
    wrapper: Callable[[Callable[..., Any]], Callable[..., Any]], handler: RpcMethodHandler | None
) -> RpcMethodHandler | None:
    """Wraps the behaviour of a method handler, whichever of the four kinds it is.

    Args:
        wrapper: Given the function that serves the method; returns another.
        handler: The handler, as one of the factories made it, or None.

    Returns:
        A new handler, or None if there was none.
    """
    if not handler:
        return None
    request = "stream" if handler.request_streaming else "unary"
    response = "stream" if handler.response_streaming else "unary"
    kind = f"{request}_{response}"
    replaced: RpcMethodHandler = handler._replace(**{kind: wrapper(getattr(handler, kind))})  # type: ignore[attr-defined]
    return replaced


class PrivateKeySignatureAlgorithm(enum.IntFlag):
    """How a private key signs; for ``ssl_channel_credentials_with_custom_signer``."""

    RSA_PKCS1_SHA256 = 0
    RSA_PKCS1_SHA384 = 1
    RSA_PKCS1_SHA512 = 2
    ECDSA_SECP256R1_SHA256 = 3
    ECDSA_SECP384R1_SHA384 = 4
    ECDSA_SECP521R1_SHA512 = 5
    RSA_PSS_RSAE_SHA256 = 6
    RSA_PSS_RSAE_SHA384 = 7
    RSA_PSS_RSAE_SHA512 = 8


PrivateKeySignCancel = Callable[[], None]
PrivateKeySignOnComplete = Callable[[bytes | Exception], None]
CustomPrivateKeySign = Callable[
    [bytes, PrivateKeySignatureAlgorithm, PrivateKeySignOnComplete], bytes | PrivateKeySignCancel
]


@experimental_api
def ssl_channel_credentials_with_custom_signer(
    *,
    private_key_sign_fn: CustomPrivateKeySign,
    root_certificates: bytes | None = None,
    certificate_chain: bytes,
) -> ChannelCredentials:
    """Makes credentials whose private key is elsewhere; Python's ssl has no way for that, so using them raises.

    Args:
        private_key_sign_fn: Would sign with the key.
        root_certificates: PEM certificates to trust.
        certificate_chain: The client's PEM certificate, followed by those that lead to its root.
    """
    reason = "Python's ssl module can't sign with a function; see pygrpc.ssl_context_channel_credentials"
    return ChannelCredentials(ChannelDescription(Unavailable(reason)))


# Behind the rest, because these use it.
from pygrpc.experimental.simple_stubs import (  # noqa: E402
    stream_stream,
    stream_unary,
    unary_stream,
    unary_unary,
)
