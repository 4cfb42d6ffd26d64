"""Metadata as the asyncio API gives it: a collection of pairs with several values to a key."""

from collections.abc import Collection, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from typing import Any, Self

MetadataKey = str
MetadataValue = str | bytes
Metadatum = tuple[MetadataKey, MetadataValue]


class Metadata(Collection[Metadatum]):
    """Metadata of a call: keys with one or more values each, in the order in which the keys first came.

    Iteration yields (key, value) pairs. Indexing speaks of a key's first value; the ``_all`` methods of all of them.
    """

    __slots__ = ("_values",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *args: Metadatum) -> None:
        """Makes metadata of (key, value) pairs."""
        values: dict[MetadataKey, list[MetadataValue]] = {}
        self._values = values
        for key, value in args:
            if key in values:
                values[key].append(value)
            else:
                values[key] = [value]

    @classmethod
    def from_tuple(cls, raw_metadata: Iterable[Metadatum] | None) -> Self:
        """Makes metadata of an iterable of (key, value) pairs."""
        return cls(*raw_metadata) if raw_metadata else cls()

    def add(self, key: MetadataKey, value: MetadataValue) -> None:
        """Appends a value to a key."""
        self._values.setdefault(key, []).append(value)

    def __len__(self) -> int:
        """The number of pairs."""
        return sum(map(len, self._values.values()))

    def __bool__(self) -> bool:
        """Whether there is any pair."""
        return bool(self._values)

    def __getitem__(self, key: MetadataKey) -> MetadataValue:
        """The first value of a key."""
        return self._values[key][0]

    def __setitem__(self, key: MetadataKey, value: MetadataValue) -> None:
        """Replaces the first value of a key, or adds the key."""
        self._values[key] = [value, *self._values.get(key, [])[1:]]

    def __delitem__(self, key: MetadataKey) -> None:
        """Removes the first value of a key."""
        values = self._values[key]
        del values[0]
        if not values:
            del self._values[key]

    def delete_all(self, key: MetadataKey) -> None:
        """Removes a key with all its values."""
        del self._values[key]

    def __iter__(self) -> Iterator[Metadatum]:
        """Yields all (key, value) pairs."""
        return iter([(key, value) for key, values in self._values.items() for value in values])

    def keys(self) -> KeysView[MetadataKey]:
        """The keys."""
        return self._values.keys()

    def values(self) -> ValuesView[list[MetadataValue]]:
        """The list of values of each key."""
        return self._values.values()

    def items(self) -> ItemsView[MetadataKey, list[MetadataValue]]:
        """Each key with its list of values."""
        return self._values.items()

    def get(self, key: MetadataKey, default: MetadataValue | None = None) -> MetadataValue | None:
        """The first value of a key, or a default."""
        return self._values[key][0] if key in self._values else default

    def get_all(self, key: MetadataKey) -> list[MetadataValue]:
        """All values of a key; empty if there are none."""
        return self._values.get(key, [])

    def set_all(self, key: MetadataKey, values: list[MetadataValue]) -> None:
        """Replaces all values of a key."""
        self._values[key] = values

    def __contains__(self, key: object) -> bool:
        """Whether a key has a value."""
        return key in self._values

    def __eq__(self, other: object) -> bool:
        """Compares with other metadata, or with a tuple of pairs."""
        if isinstance(other, Metadata):
            return self._values == other._values
        if isinstance(other, tuple):
            return tuple(self) == other
        return NotImplemented

    def __add__(self, other: Any) -> "Metadata":
        """Joins two collections of pairs."""
        if isinstance(other, (Metadata, tuple)):
            return Metadata(*self, *other)
        return NotImplemented

    def __repr__(self) -> str:
        """Shows the pairs."""
        return f"{type(self).__name__}({tuple(self)!r})"


MetadataType = Metadata | Sequence[Metadatum]
