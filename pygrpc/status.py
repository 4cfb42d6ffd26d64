"""The status codes of gRPC (doc/statuscodes.md in the grpc repository)."""

import enum


class StatusCode(enum.Enum):
    """A gRPC status code: ``value`` is the pair of the number on the wire and its name in words."""

    OK = (0, "ok")
    CANCELLED = (1, "cancelled")
    UNKNOWN = (2, "unknown")
    INVALID_ARGUMENT = (3, "invalid argument")
    DEADLINE_EXCEEDED = (4, "deadline exceeded")
    NOT_FOUND = (5, "not found")
    ALREADY_EXISTS = (6, "already exists")
    PERMISSION_DENIED = (7, "permission denied")
    RESOURCE_EXHAUSTED = (8, "resource exhausted")
    FAILED_PRECONDITION = (9, "failed precondition")
    ABORTED = (10, "aborted")
    OUT_OF_RANGE = (11, "out of range")
    UNIMPLEMENTED = (12, "unimplemented")
    INTERNAL = (13, "internal")
    UNAVAILABLE = (14, "unavailable")
    DATA_LOSS = (15, "data loss")
    UNAUTHENTICATED = (16, "unauthenticated")


#: The code for each number on the wire; a number that is not here means UNKNOWN to a receiver.
CODES: tuple[StatusCode, ...] = tuple(sorted(StatusCode, key=lambda code: code.value[0]))
