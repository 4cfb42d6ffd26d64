"""The metadata collection of the asyncio API."""

import pytest

from pygrpc.metadata import Metadata


def sample() -> Metadata:
    return Metadata(("a", "1"), ("b-bin", b"2"), ("a", "3"))


def test_iteration_gives_pairs_by_key() -> None:
    assert list(sample()) == [("a", "1"), ("a", "3"), ("b-bin", b"2")]
    assert len(sample()) == 3


def test_it_reads_like_a_mapping_to_first_values() -> None:
    metadata = sample()
    assert metadata["a"] == "1"
    assert metadata.get("b-bin") == b"2"
    assert metadata.get("c") is None
    assert metadata.get("c", "default") == "default"
    assert "a" in metadata
    assert "c" not in metadata
    with pytest.raises(KeyError):
        metadata["c"]


def test_it_knows_all_values_of_a_key() -> None:
    metadata = sample()
    assert metadata.get_all("a") == ["1", "3"]
    assert metadata.get_all("c") == []
    metadata.set_all("a", ["x", "y"])
    assert metadata.get_all("a") == ["x", "y"]
    metadata.delete_all("a")
    assert "a" not in metadata
    with pytest.raises(KeyError):
        metadata.delete_all("a")


def test_setting_a_key_replaces_its_first_value() -> None:
    metadata = sample()
    metadata["a"] = "new"
    metadata["c"] = "added"
    assert list(metadata) == [("a", "new"), ("a", "3"), ("b-bin", b"2"), ("c", "added")]


def test_deleting_a_key_removes_its_first_value() -> None:
    metadata = sample()
    del metadata["a"]
    assert metadata.get_all("a") == ["3"]
    del metadata["a"]
    assert "a" not in metadata
    with pytest.raises(KeyError):
        del metadata["a"]


def test_views() -> None:
    metadata = sample()
    assert list(metadata.keys()) == ["a", "b-bin"]
    assert list(metadata.values()) == [["1", "3"], [b"2"]]
    assert list(metadata.items()) == [("a", ["1", "3"]), ("b-bin", [b"2"])]


@pytest.mark.parametrize("raw", [None, (), []])
def test_nothing_gives_empty_metadata(raw: list[tuple[str, str]] | None) -> None:
    assert len(Metadata.from_tuple(raw)) == 0


def test_it_compares_with_metadata_and_with_tuples() -> None:
    assert sample() == Metadata.from_tuple([("a", "1"), ("b-bin", b"2"), ("a", "3")])
    assert sample() == (("a", "1"), ("a", "3"), ("b-bin", b"2"))
    assert sample() != Metadata(("a", "1"))
    assert sample() != [("a", "1")]
    assert Metadata() == ()


def test_it_is_added_to_metadata_and_tuples() -> None:
    assert Metadata(("a", "1")) + Metadata(("b", "2")) == (("a", "1"), ("b", "2"))
    pairs = (("b", "2"),)
    assert Metadata(("a", "1")) + pairs == (("a", "1"), ("b", "2"))
    with pytest.raises(TypeError):
        Metadata() + 1


def test_it_is_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(Metadata())


def test_its_text_shows_the_pairs() -> None:
    assert repr(Metadata(("a", "1"))) == "Metadata((('a', '1'),))"
