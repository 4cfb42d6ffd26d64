"""The description of the work that both processes get."""

from benchmarks.work import KIB, Work


def test_work_goes_through_json() -> None:
    work = Work("upload", lanes=3, tls=True, timeout=1.5, metadata=100)
    assert Work.from_json(work.to_json()) == work


def test_the_payload_has_the_size() -> None:
    assert [len(Work(size=size).payload) for size in (0, 1, 256, 1000)] == [0, 1, 256, 1000]


def test_the_warm_up_leaves_what_is_large_to_the_measurement() -> None:
    work = Work("unary", lanes=10_000, connections=500, size=64 * KIB * KIB, messages=100_000, metadata=5)
    assert work.small() == Work("unary", lanes=32, connections=1, size=64 * KIB, messages=2000, metadata=5)
    assert Work("unary").small() == Work("unary")


def test_calls_have_options_only_if_the_work_wants_them() -> None:
    assert Work().call_options() is None
    timed = Work(timeout=2.0).call_options()
    assert timed is not None
    assert timed() == {"timeout": 2.0}


def test_metadata_has_about_the_size_and_one_entry_that_changes() -> None:
    options = Work(metadata=4096).call_options()
    assert options is not None
    first, second = options()["metadata"], options()["metadata"]
    assert 3072 < sum(len(name) + len(value) for name, value in first) <= 4096 + 32
    assert first[:-1] == second[:-1]
    assert [name for name, _ in (first[-1], second[-1])] == ["x-request-id"] * 2
    assert first[-1] != second[-1]
