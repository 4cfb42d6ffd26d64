"""How a call of a service failed, in a form that people and programs can both read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from pygrpc import RpcError, StatusCode
from pygrpc.aio import AioRpcError, Metadata

_DETAILS_KEY = "grpc-status-details-bin"
_KINDS: Mapping[str, type[Message]] = {
    f"google.rpc.{name}": getattr(error_details_pb2, name)
    for name in error_details_pb2.DESCRIPTOR.message_types_by_name
}

_M = TypeVar("_M", bound=Message)


class FieldViolation(NamedTuple):
    """A rule about a field of the request that was broken."""

    field: str
    description: str


class ServiceError(RpcError):
    """A call ended with a status other than OK. Its text is a sentence for people.

    Attributes:
        code: The status code.
        message: What the server says, or the library if the server could not be asked.
        details: The messages of google.rpc that came with the status; see google/rpc/error_details.proto.
        target: The server that was called.
        request_id: What the call was sent with as "x-request-id": the server's logs have it too.
        trailing_metadata: All metadata that came with the status.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str,
        details: tuple[Message, ...] = (),
        *,
        target: str = "",
        request_id: str = "",
        trailing_metadata: Metadata | None = None,
    ) -> None:
        """Keeps the parts of the status."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details
        self.target = target
        self.request_id = request_id
        self.trailing_metadata = trailing_metadata or Metadata()

    @classmethod
    def of(cls, error: AioRpcError, target: str, request_id: str) -> ServiceError:
        """Reads the status of a call that failed."""
        metadata = error.trailing_metadata() or Metadata()
        details = _details(metadata)
        return cls(
            error.code(),
            error.details() or "",
            details,
            target=target,
            request_id=request_id,
            trailing_metadata=metadata,
        )

    def detail(self, kind: type[_M]) -> _M | None:
        """Returns the first detail of a kind, None if there is none."""
        return next((each for each in self.details if isinstance(each, kind)), None)

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """The rules that the request broke, as far as the server named them."""
        bad_request = self.detail(BadRequest)
        found = bad_request.field_violations if bad_request is not None else ()
        return tuple(FieldViolation(each.field, each.description) for each in found)

    @property
    def reason(self) -> str:
        """The reason as a constant, "EMAIL_TAKEN" for example; empty if the server gave none."""
        info = self.detail(ErrorInfo)
        return info.reason if info is not None else ""

    @property
    def info(self) -> Mapping[str, str]:
        """What the server says besides the reason."""
        info = self.detail(ErrorInfo)
        return dict(info.metadata) if info is not None else {}

    @property
    def retry_after(self) -> float | None:
        """In how many seconds the server will take the call; None if it does not say (google.rpc.RetryInfo)."""
        retry = self.detail(RetryInfo)
        if retry is None:
            return None
        return max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)

    def __str__(self) -> str:
        """Says in a sentence what went wrong and, where that is known, what to do."""
        sentence = self._sentence()
        if self.retry_after is not None:
            sentence += f"; try again in {max(round(self.retry_after, 1), 0.1):g} s"
        return sentence

    def _sentence(self) -> str:
        violations = [f"{each.field} {each.description}" for each in self.violations]
        if len(violations) > 1:
            return "the request was refused: " + "; ".join(violations)
        match self.code:
            case StatusCode.UNAVAILABLE:
                return f"the server {self.target} is not available: {self.message}"
            case StatusCode.DEADLINE_EXCEEDED if self.message in ("", "Deadline Exceeded"):
                return f"the server {self.target} did not answer in time"
            case StatusCode.UNIMPLEMENTED:
                return f"the server {self.target} does not serve this method: {self.message}"
            case StatusCode.UNAUTHENTICATED:
                return f"the server {self.target} does not accept who this is: {self.message}"
        return self.message or f"the call ended with {self.code.name}"


def _details(metadata: Metadata) -> tuple[Message, ...]:
    """Unpacks the details of a status; what is damaged or unknown is left out, as the status says enough without it."""
    found = []
    for key, value in metadata:
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            for packed in Status.FromString(value).details:
                kind = _KINDS.get(packed.TypeName())
                if kind is not None:
                    found.append(kind.FromString(packed.value))
        except DecodeError:
            continue
    return tuple(found)
