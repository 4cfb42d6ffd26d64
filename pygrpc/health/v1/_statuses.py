"""What is known of the services of a server, whichever API serves it."""

from __future__ import annotations

from pygrpc.health.v1.health_pb2 import HealthCheckResponse, HealthListResponse

OVERALL_HEALTH = ""
"""The name that stands for the server as a whole."""

LIST_LIMIT = 100
"""The largest number of services that List tells of; health.proto has it from the contract."""

ServingStatus = HealthCheckResponse.ServingStatus


class Statuses:
    """The status of each service that has one; not thread-safe."""

    def __init__(self) -> None:
        """Starts with a server that serves as a whole, as in grpcio-health-checking."""
        self._statuses: dict[str, ServingStatus] = {OVERALL_HEALTH: HealthCheckResponse.SERVING}
        self._final = False

    def known(self, service: str) -> ServingStatus | None:
        """Returns what Check says of a service; None if it has no status."""
        return self._statuses.get(service)

    def watched(self, service: str) -> ServingStatus:
        """Returns what Watch says of a service."""
        return self._statuses.get(service, HealthCheckResponse.SERVICE_UNKNOWN)

    def set(self, service: str, status: ServingStatus | str) -> bool:
        """Takes note of a status; returns whether anything has changed.

        Raises:
            TypeError: The name isn't text.
            ValueError: There is no such status.
        """
        if not isinstance(service, str):
            raise TypeError(f"{service!r} is no name of a service: it must be a str.")
        number = HealthCheckResponse(status=status).status if isinstance(status, str) else status
        if number not in ServingStatus.values():
            raise ValueError(f"{number!r} is no status: take one of HealthCheckResponse, such as SERVING.")
        if self._final or self._statuses.get(service) == number:
            return False
        self._statuses[service] = number
        return True

    def shut_down(self) -> bool:
        """Makes NOT_SERVING the status of all services, for good; returns False if it is so already."""
        if self._final:
            return False
        self._final = True
        self._statuses = dict.fromkeys(self._statuses, HealthCheckResponse.NOT_SERVING)
        return True

    def listed(self) -> HealthListResponse | None:
        """Returns what List says; None if there are too many services."""
        if len(self._statuses) > LIST_LIMIT:
            return None
        responses = {service: HealthCheckResponse(status=status) for service, status in self._statuses.items()}
        return HealthListResponse(statuses=responses)


def unknown(service: str) -> str:
    """The details for a Check of a service without a status."""
    return f"The service {service!r} has no health status: the server has set none under this name."


def too_many() -> str:
    """The details for a List that would be too long."""
    return f"More than {LIST_LIMIT} services have a health status: ask for each by Check."
