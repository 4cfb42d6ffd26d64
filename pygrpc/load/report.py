"""The report of a load test, for people and as JSON."""

from __future__ import annotations

from typing import Any

from pygrpc.load.histogram import LatencyHistogram
from pygrpc.load.plan import Plan
from pygrpc.load.result import LoadResult

#: Percent.
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
_ROWS = 12
_BAR = 40


def as_text(plan: Plan, result: LoadResult) -> str:
    """Returns the report as lines of text."""
    lines = [f"{plan.method} on {plan.target}: {_load(plan)}, {result.seconds:.2f} s"]
    lines += [f"  {sentence}" for sentence in remarks(plan, result)]
    lines += ["", f"  calls     {result.calls:>10,}  {result.rate:,.1f}/s"]
    if result.calls:
        lines += [f"  messages  {result.sent:>10,}  sent, {_size(result.bytes_sent)}"]
        lines += [f"            {result.received:>10,}  received, {_size(result.bytes_received)}"]
        lines += ["", "  status"] + [f"    {line}" for line in _codes(result)]
        lines += ["", "  latency in ms"] + [f"    {name:<6} {value:>10.3f}" for name, value in _summary(result)]
        lines += ["", "  histogram in ms"] + [f"    {line}" for line in _bars(result.latencies())]
    return "\n".join(lines) + "\n"


def as_json(plan: Plan, result: LoadResult) -> dict[str, Any]:
    """Returns the report as a JSON value; latencies are in milliseconds."""
    report: dict[str, Any] = {
        "target": plan.target,
        "method": plan.method,
        "concurrency": plan.concurrency,
        "connections": plan.connections,
        "calls": result.calls,
        "seconds": result.seconds,
        "calls_per_second": result.rate,
        "interrupted": result.interrupted,
        "unfinished": result.unfinished,
        "messages": {"sent": result.sent, "received": result.received},
        "bytes": {"sent": result.bytes_sent, "received": result.bytes_received},
        "codes": {
            code: {
                "calls": each.latencies.count,
                "example": each.example,
                "latency_ms": latency_summary(each.latencies),
            }
            for code, each in sorted(result.codes.items())
        },
        "latency_ms": dict(_summary(result)),
        "histogram": [[low * 1000, high * 1000, count] for low, high, count in result.latencies().buckets()],
    }
    if plan.rate is not None:
        report["rate"] = {
            "asked_per_second": plan.rate,
            "held": result.held,
            "late": result.late,
            "latest_ms": result.latest * 1000,
            "missed": result.missed,
        }
    return report


def remarks(plan: Plan, result: LoadResult) -> list[str]:
    """Returns what has to be known to judge the figures, as sentences."""
    said = []
    if result.interrupted:
        said.append(f"The test was interrupted; not counted: {_calls(result.unfinished)} in flight.")
    if plan.rate is not None and not result.held:
        said.append(
            f"The rate of {plan.rate:g}/s could not be held: of the calls that were due, {result.missed:,} never began"
            f" and {result.late:,} began late, by up to {result.latest * 1000:,.0f} ms, because all"
            f" {plan.concurrency:,} in flight were still going on."
        )
    elif result.late:
        said.append(
            f"The rate was held, but {_calls(result.late)} began late, by up to {result.latest * 1000:,.1f} ms;"
            " the latencies have that in them."
        )
    return said


def latency_summary(latencies: LatencyHistogram) -> dict[str, float]:
    """Returns mean, shortest, percentiles and longest, in milliseconds; nothing if there are no latencies."""
    if not latencies.count:
        return {}
    percentiles = {f"p{percent:g}": latencies.quantile(percent / 100) for percent in PERCENTILES}
    in_seconds = {"mean": latencies.mean, "min": latencies.minimum, **percentiles, "max": latencies.maximum}
    return {name: seconds * 1000 for name, seconds in in_seconds.items()}


def _summary(result: LoadResult) -> list[tuple[str, float]]:
    return list(latency_summary(result.latencies()).items())


def _load(plan: Plan) -> str:
    connections = "1 connection" if plan.connections == 1 else f"{plan.connections:,} connections"
    rate = "" if plan.rate is None else f"{plan.rate:g} calls/s, "
    return f"{rate}{_calls(plan.concurrency)} in flight at most on {connections}"


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"


def _codes(result: LoadResult) -> list[str]:
    """Returns a line for each status code, the most frequent first."""
    lines = []
    for code, each in sorted(result.codes.items(), key=lambda item: -item[1].latencies.count):
        line = f"{code:<20} {each.latencies.count:>10,}"
        if code != "OK":
            line += f"  p50 {each.latencies.quantile(0.5) * 1000:.3f} ms"
            line += f"  {' '.join(each.example.split())!r}" if each.example else ""
        lines.append(line)
    return lines


def _bars(latencies: LatencyHistogram) -> list[str]:
    rows = latencies.rows(_ROWS)
    most = max(count for _, _, count in rows)
    return [
        f"{low * 1000:>10.3f} to {high * 1000:>10.3f}  {count:>9,}  {'#' * -(-count * _BAR // most)}".rstrip()
        for low, high, count in rows
    ]


def _size(number: int) -> str:
    """Returns a number of bytes with its unit."""
    size, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
