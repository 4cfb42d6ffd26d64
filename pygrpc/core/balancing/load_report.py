"""Load reports: what a server tells with each call about how busy it is (gRFC A51, ORCA).

A report is a message ``xds.data.orca.v3.OrcaLoadReport`` in the trailing metadata of a call.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pygrpc.core import protowire
from pygrpc.core.metadata import RawMetadata

#: The key of the metadata.
METADATA_KEY = "endpoint-load-metrics-bin"
#: Entries of a report's maps that are kept at most; what is beyond them is passed over.
_MOST_METRICS = 256

_NUMBERS = {1: "cpu_utilization", 2: "mem_utilization", 6: "rps_fractional", 7: "eps", 9: "application_utilization"}
_MAPS = {4: "request_cost", 5: "utilization", 8: "named_metrics"}


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How busy a server is.

    Attributes:
        cpu_utilization: The share of the CPU in use; above 1 if that is more than it should be.
        mem_utilization: The share of the memory in use.
        rps_fractional: Requests per second, of all clients.
        eps: Errors per second.
        application_utilization: How busy it is by its own reckoning; it counts before ``cpu_utilization``.
        request_cost: What this call has cost, by the name of what.
        utilization: The share of other resources in use, by name.
        named_metrics: What else the application tells.
    """

    cpu_utilization: float = 0.0
    mem_utilization: float = 0.0
    rps_fractional: float = 0.0
    eps: float = 0.0
    application_utilization: float = 0.0
    request_cost: Mapping[str, float] = field(default_factory=dict)
    utilization: Mapping[str, float] = field(default_factory=dict)
    named_metrics: Mapping[str, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The message ``OrcaLoadReport``."""
        parts = []
        for number, name in _NUMBERS.items():
            value = float(getattr(self, name))
            if value:
                parts.append(protowire.encode_double(number, value))
        for number, name in _MAPS.items():
            for key, value in getattr(self, name).items():
                entry = protowire.encode_bytes(1, key.encode()) + protowire.encode_double(2, float(value))
                parts.append(protowire.encode_bytes(number, entry))
        return b"".join(parts)

    def metadata(self) -> tuple[str, bytes]:
        """The pair of trailing metadata that sends the report."""
        return METADATA_KEY, self.encode()

    def metric(self, name: str) -> float:
        """A metric by its name (gRFC A114): ``mem_utilization``, or ``named_metrics.foo``; 0 if it isn't there."""
        group, dot, key = name.partition(".")
        if not dot:
            return float(getattr(self, name)) if name in _UTILIZATIONS else 0.0
        return float(getattr(self, group).get(key, 0.0)) if group in ("named_metrics", "utilization") else 0.0


_UTILIZATIONS = frozenset(["application_utilization", "cpu_utilization", "mem_utilization"])


def parse_report(data: bytes) -> LoadReport:
    """Reads a message ``OrcaLoadReport``; numbers that are none, or below zero, count as not there.

    Raises:
        ValueError: The message breaks the format of protobuf.
    """
    numbers: dict[str, float] = {}
    maps: dict[str, dict[str, float]] = {name: {} for name in _MAPS.values()}
    for number, kind, value in protowire.fields(data):
        if number in _NUMBERS and kind == protowire.FIXED64 and isinstance(value, bytes):
            numbers[_NUMBERS[number]] = _sane(protowire.double(value))
        elif number in _MAPS and kind == protowire.BYTES and isinstance(value, bytes):
            metrics = maps[_MAPS[number]]
            key, metric = _entry(value)
            if key in metrics or len(metrics) < _MOST_METRICS:
                metrics[key] = metric
    values: dict[str, Any] = {**numbers, **maps}
    return LoadReport(**values)


def _entry(data: bytes) -> tuple[str, float]:
    key, metric = "", 0.0
    for number, kind, value in protowire.fields(data):
        if number == 1 and kind == protowire.BYTES and isinstance(value, bytes):
            key = value.decode("utf-8", "replace")
        elif number == 2 and kind == protowire.FIXED64 and isinstance(value, bytes):
            metric = _sane(protowire.double(value))
    return key, metric


def _sane(number: float) -> float:
    return number if math.isfinite(number) and number > 0 else 0.0


def find_report(metadata: RawMetadata) -> LoadReport | None:
    """The report in the trailing metadata of a call, or None if there is none that can be read."""
    for key, value in metadata:
        if key == METADATA_KEY and isinstance(value, bytes):
            try:
                return parse_report(value)
            except ValueError:
                return None
    return None
