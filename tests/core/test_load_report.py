"""Load reports on the wire, against protobuf's own reading of the same message."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.core import protowire
from pygrpc.core.balancing.load_report import METADATA_KEY, LoadReport, find_report, parse_report

NUMBERS = ("cpu_utilization", "mem_utilization", "rps_fractional", "eps", "application_utilization")
MAPS = {"request_cost": 4, "utilization": 5, "named_metrics": 8}


def make_message() -> Any:
    """The class of OrcaLoadReport, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name="orca.proto", package="test.orca", syntax="proto3")
    message = file.message_type.add(name="OrcaLoadReport")
    for name, number in zip(NUMBERS, (1, 2, 6, 7, 9), strict=True):
        message.field.add(name=name, number=number, type=1, label=1)
    for name, number in MAPS.items():
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=9, label=1)
        entry.field.add(name="value", number=2, type=1, label=1)
        message.field.add(
            name=name, number=number, type=11, label=3, type_name=f".test.orca.OrcaLoadReport.{entry.name}"
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.orca.OrcaLoadReport"))


Message = make_message()
AMOUNTS = st.floats(0, 1e9)
METRICS = st.dictionaries(st.text(max_size=5), st.floats(0.001, 1e9), max_size=4)
REPORTS = st.builds(LoadReport, *[AMOUNTS] * 5, METRICS, METRICS, METRICS)


@given(REPORTS)
def test_protobuf_reads_what_is_written_and_the_other_way_round(report: LoadReport) -> None:
    message = Message.FromString(report.encode())
    for name in NUMBERS:
        assert getattr(message, name) == getattr(report, name)
    for name in MAPS:
        assert dict(getattr(message, name)) == getattr(report, name)
    assert parse_report(message.SerializeToString()) == report


def test_what_is_no_sane_number_is_not_there() -> None:
    report = LoadReport(cpu_utilization=-1, eps=float("nan"), rps_fractional=float("inf"), utilization={"a": -1.0})
    assert parse_report(report.encode()) == LoadReport(utilization={"a": 0.0})


def test_fields_of_another_kind_and_unknown_ones_are_passed_over() -> None:
    assert parse_report(b"\x08\x01" + protowire.encode_bytes(99, b"x") + b"\x20\x01") == LoadReport()


def test_the_metrics_of_a_report_are_limited() -> None:
    report = LoadReport(named_metrics={str(number): 1.0 for number in range(1000)})
    assert len(parse_report(report.encode()).named_metrics) == 256


def test_metrics_have_names() -> None:
    report = LoadReport(mem_utilization=0.5, eps=3, named_metrics={"a.b": 0.25}, utilization={"x": 0.75})
    assert report.metric("mem_utilization") == 0.5
    assert report.metric("named_metrics.a.b") == 0.25
    assert report.metric("utilization.x") == 0.75
    # gRFC A114 has only these.
    for name in ("eps", "named_metrics.none", "request_cost.x", "nonsense", ""):
        assert report.metric(name) == 0


def test_the_report_is_found_in_metadata() -> None:
    report = LoadReport(cpu_utilization=0.5)
    key, value = report.metadata()
    assert key == METADATA_KEY == "endpoint-load-metrics-bin"
    assert find_report((("a", "b"), (key, value))) == report
    assert find_report((("a", "b"),)) is None
    assert find_report(((key, b"\xff"),)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        report = parse_report(data)
    except ValueError as error:
        assert str(error)
        return
    assert all(getattr(report, name) >= 0 for name in NUMBERS)


def test_a_report_that_can_t_be_sent_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        LoadReport(cpu_utilization="much").encode()  # type: ignore[arg-type]
