"""What the property tests share: splits, mutations, frames good and bad."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import strategies as st

from pygrpc.core.metadata import Header

#: Sizes of the pieces in which bytes arrive; the last one is repeated.
splits = st.lists(st.integers(1, 40), max_size=30) | st.just([1]) | st.just([1 << 20])


def pieces(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cuts data into pieces of these sizes, and of the last size from there on."""
    offset = number = 0
    while offset < len(data):
        size = sizes[min(number, len(sizes) - 1)] if sizes else len(data)
        yield data[offset : offset + size]
        offset += size
        number += 1


def block(headers: Sequence[Header]) -> bytes:
    """A header block of literals, which means the same wherever it comes: nothing gets into the dynamic table."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(data: bytes) -> bytes:
    # RFC 7541, sections 5.1 and 5.2: an integer with a prefix of seven bits, then the bytes.
    size = len(data)
    if size < 127:
        return bytes([size]) + data
    length = bytearray([127])
    size -= 127
    while size >= 128:
        length.append(size % 128 + 128)
        size //= 128
    length.append(size)
    return bytes(length) + data


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Any frame, right or wrong."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

stream_ids = st.sampled_from([0, 1, 1, 1, 2, 3, 3, 5, 7, 2**31 - 1])
numbers = st.sampled_from([0, 1, 2, 100, 16_384, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(
    0, 2**32 - 1
)
prefixed = st.builds(
    lambda flag, size, payload: bytes([flag]) + (len(payload) if size is None else size).to_bytes(4, "big") + payload,
    st.sampled_from([0, 0, 0, 1, 2, 255]),
    st.none() | st.integers(0, 50) | st.just(2**32 - 1),
    st.binary(max_size=40),
)


def valid_frames(blocks: st.SearchStrategy[list[Header]]) -> st.SearchStrategy[bytes]:
    """Frames that are well made, though they may come at a wrong time or on a wrong stream."""
    end = st.sampled_from([0, 0, 1])
    return st.one_of(
        st.builds(
            lambda stream, flag, headers: frame(HEADERS, 4 | flag, stream, block(headers)), stream_ids, end, blocks
        ),
        st.builds(lambda stream, flag, data: frame(DATA, flag, stream, data), stream_ids, end, prefixed),
        st.builds(lambda stream, flag, data: frame(DATA, flag, stream, data), stream_ids, end, st.binary(max_size=30)),
        st.builds(lambda stream, data, pad: padded(stream, data, pad), stream_ids, prefixed, st.integers(0, 30)),
        st.builds(lambda stream, code: frame(RST_STREAM, 0, stream, code.to_bytes(4, "big")), stream_ids, numbers),
        st.builds(lambda stream, by: frame(WINDOW_UPDATE, 0, stream, by.to_bytes(4, "big")), stream_ids, numbers),
        st.builds(
            lambda key, value: frame(SETTINGS, 0, 0, key.to_bytes(2, "big") + value.to_bytes(4, "big")),
            st.integers(0, 9),
            numbers,
        ),
        st.builds(
            lambda flag, data: frame(PING, flag, 0, data), st.sampled_from([0, 1]), st.binary(min_size=8, max_size=8)
        ),
        st.just(frame(SETTINGS, 1, 0, b"")),
        st.builds(
            lambda last, code, debug: frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + debug),
            numbers,
            numbers,
            st.binary(max_size=20),
        ),
        st.builds(lambda stream: frame(PRIORITY, 0, stream, b"\0\0\0\3\x10"), stream_ids),
    )


def padded(stream_id: int, data: bytes, padding: int) -> bytes:
    return frame(DATA, 8, stream_id, bytes([padding]) + data + bytes(padding))


def any_frames(blocks: st.SearchStrategy[list[Header]]) -> st.SearchStrategy[bytes]:
    """Frames good and bad, with some noise between them."""
    wild = st.builds(
        frame, st.integers(0, 12), st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]), stream_ids, st.binary(max_size=40)
    )
    # What is well made comes more often, or hardly any conversation would get anywhere.
    return st.one_of(*[valid_frames(blocks)] * 6, wild, st.binary(max_size=12))


class Mutation:
    """Changes a conversation in one place."""

    def __init__(self, kind: str, place: float, length: int, noise: bytes) -> None:
        self.kind, self.place, self.length, self.noise = kind, place, length, noise

    def __repr__(self) -> str:
        return f"Mutation({self.kind!r}, {self.place!r}, {self.length!r}, {self.noise!r})"

    def __call__(self, data: bytes) -> bytes:
        start = int(self.place * len(data))
        end = min(len(data), start + self.length)
        if self.kind == "cut":
            return data[:start]
        if self.kind == "drop":
            return data[:start] + data[end:]
        if self.kind == "repeat":
            return data[:end] + data[start:end] + data[end:]
        if self.kind == "insert":
            return data[:start] + self.noise + data[start:]
        if self.kind == "replace":
            return data[:start] + self.noise + data[start + len(self.noise) :]
        # One bit.
        if start == len(data):
            return data
        return data[:start] + bytes([data[start] ^ 1 << self.length % 8]) + data[start + 1 :]


mutations = st.lists(
    st.builds(
        Mutation,
        st.sampled_from(["flip", "flip", "flip", "cut", "drop", "repeat", "insert", "replace"]),
        st.floats(0, 1),
        st.integers(1, 60),
        st.binary(min_size=1, max_size=9),
    ),
    max_size=4,
)


def mutated(data: bytes, changes: Sequence[Mutation]) -> bytes:
    for change in changes:
        data = change(data)
    return data
