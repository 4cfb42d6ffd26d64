"""What is read from h2load's output, and what it is told to send."""

import pytest

from benchmarks import h2load
from benchmarks.work import Work, WrongReply

# The figures of a run of h2load 1.52.
H2LOAD = """\
finished in 191.20ms, 5230.21 req/s, 828.78KB/s
requests: 1000 total, 1000 started, 1000 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, 0 4xx, {failed} 5xx
traffic: 154.74KB (158456) total, 14.37KB (14712) headers (space savings 91.29%), 102.54KB ({data}) data
"""


def test_h2load_is_believed_if_every_request_was_echoed() -> None:
    assert h2load.parse(H2LOAD.format(succeeded=1000, failed=0, data=105_000), 1000, 105) == 5230.21


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ("", "no figures"),
        (H2LOAD.format(succeeded=999, failed=1, data=105_000), "requests failed"),
        (H2LOAD.format(succeeded=999, failed=0, data=105_000), "999 of 1000"),
        (H2LOAD.format(succeeded=1000, failed=0, data=104_895), "104895 DATA bytes"),
    ],
)
def test_h2load_is_not_believed_otherwise(output: str, complaint: str) -> None:
    with pytest.raises(WrongReply, match=complaint):
        h2load.parse(output, 1000, 105)


def test_requests_have_the_metadata_and_deadline_of_the_work() -> None:
    plain = ["te: trailers", "content-type: application/grpc"]
    assert h2load.headers(Work("h2load")) == plain
    dressed = h2load.headers(Work("h2load", timeout=30.0, metadata=80))
    assert dressed == [*plain, f"x-entry-0000: {'v' * 64}", "x-request-id: 000000000000", "grpc-timeout: 30000m"]
