"""Metadata: what goes through, in what form and order, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.behaviour.handlers import ECHO, drain
from tests.behaviour.peers import ARITIES, Peers, Witness, collect

each_arity = pytest.mark.parametrize("arity", ARITIES)

#: Keys of a call's metadata that the library adds by itself.
OWN = {"user-agent"}


async def received(peers: Peers, metadata: Any, **arguments: Any) -> list[tuple[str, Any]]:
    """Send metadata with a unary call and return what the handler saw of it."""
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen([(key, value) for key, value in context.invocation_metadata() if key not in OWN])
        return b""

    async with peers.serve(uu=handler, **arguments) as link:
        await link.uu(b"", metadata=metadata)
        return list(await seen)


async def returned(peers: Peers, metadata: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what the client sees of metadata that the server sends first and last."""

    async def handler(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata(metadata)
        context.set_trailing_metadata(metadata)
        return b""

    async with peers.serve(uu=handler) as link:
        call = link.uu(b"")
        await call
        return tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())


#: Metadata that has to arrive as it was sent. Equal keys stand together, as aio.Metadata groups them.
PAIRS = {
    "none": (),
    "text": (("key", "value"),),
    "binary": (("key-bin", b"\x00\x01\xfe\xff"),),
    "several of a key": (("key", "1"), ("key", "2"), ("key", "1")),
    "several of a binary key": (("key-bin", b"1"), ("key-bin", b""), ("key-bin", b"2")),
    "order": (("z", "1"), ("a", "2"), ("m-bin", b"3"), ("b", "4")),
    "empty": (("key", ""), ("key-bin", b"")),
    "inner spaces": (("key", "a b  c"),),
    "commas": (("key", "a,b, c"),),
    "all printable": (("key", "".join(map(chr, range(0x21, 0x7F)))),),
    "all key characters": (("abcdefghijklmnopqrstuvwxyz0123456789_.-", "value"),),
    "every length of binary": tuple((f"key{length}-bin", bytes(range(length))) for length in range(8)),
    "every byte": (("key-bin", bytes(range(256))),),
    "long": (("key", "v" * 3000), ("key-bin", b"v" * 2000)),
    "many": tuple((f"key{number}", str(number)) for number in range(60)),
}

each_pairs = pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)


@each_pairs
async def test_request_metadata_arrives(peers: Peers, pairs: Any) -> None:
    assert await received(peers, pairs) == list(pairs)


@each_pairs
async def test_response_metadata_arrives(peers: Peers, pairs: Any) -> None:
    assert await returned(peers, pairs) == (pairs, pairs)


#: What the types don't allow and grpcio takes all the same, and how it arrives.
UNTYPED = {
    "key in bytes": ((b"key", "value"), ("key", "value")),
    "binary key in bytes": ((b"key-bin", b"\xff"), ("key-bin", b"\xff")),
    "no value": (("key", None), ("key", "")),
}


@pytest.mark.parametrize(("pair", "arrived"), UNTYPED.values(), ids=UNTYPED)
async def test_request_metadata_of_other_types_arrives(peers: Peers, pair: Any, arrived: Any) -> None:
    assert await received(peers, (pair,)) == [arrived]


@pytest.mark.parametrize("value", [" before", "after ", "  both  ", " "], ids=repr)
async def test_spaces_at_the_ends_are_all_that_may_get_lost(peers: Peers, value: str) -> None:
    # PROTOCOL-HTTP2.md: a value with white space around it may be stripped. RFC 9113, section 8.2.1, forbids to send
    # it; grpcio does so all the same.
    pairs = (("key", value),)
    found = [*await received(peers, pairs)]
    for metadata in await returned(peers, pairs):
        found += metadata
    assert [(key, text.strip()) for key, text in found] == [("key", value.strip())] * 3


@each_arity
async def test_each_arity_carries_metadata(peers: Peers, arity: str) -> None:
    async def unary(request: Any, context: Any) -> bytes:
        await drain(request)
        sent = [(key, value) for key, value in context.invocation_metadata() if key not in OWN]
        await context.send_initial_metadata(tuple(sent[:1]))
        context.set_trailing_metadata(tuple(sent[1:]))
        return b""

    async def stream(request: Any, context: Any) -> Any:
        yield await unary(request, context)

    async with peers.serve(**{arity: unary if arity[1] == "u" else stream}) as link:
        call = link.start(arity, b"x", metadata=(("a", "1"), ("b-bin", b"2"), ("b-bin", b"3")))
        await collect(call)
        assert tuple(await call.initial_metadata()) == (("a", "1"),)
        assert tuple(await call.trailing_metadata()) == (("b-bin", b"2"), ("b-bin", b"3"))


@pytest.mark.parametrize("form", [tuple, list, "Metadata", "lists"])
async def test_metadata_may_have_the_form(peers: Peers, form: Any) -> None:
    pairs = (("a", "1"), ("a", "2"), ("b", "3"))
    if form == "Metadata":
        metadata = peers.client.aio.Metadata(*pairs)
    elif form == "lists":
        metadata = [list(pair) for pair in pairs]
    else:
        metadata = form(pairs)
    assert await received(peers, metadata) == list(pairs)


@pytest.mark.parametrize("form", [tuple, list, "Metadata"])
async def test_response_metadata_may_have_the_form(peers: Peers, form: Any) -> None:
    pairs = (("a", "1"), ("a", "2"), ("b", "3"))
    metadata = peers.server.aio.Metadata(*pairs) if form == "Metadata" else form(pairs)
    assert await returned(peers, metadata) == (pairs, pairs)


async def test_text_may_be_given_as_bytes(peers: Peers) -> None:
    assert await received(peers, (("key", b"value"),)) == [("key", "value")]


@pytest.mark.only(client="aio", reason="the synchronous API returns tuples of pairs")
async def test_client_gets_metadata_objects(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("a", "1"), ("a", "2")))
        context.set_trailing_metadata((("b-bin", b"3"),))
        return b""

    async with peers.serve(uu=handler) as link:
        call = link.uu(b"")
        await call
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        assert isinstance(initial, peers.client.aio.Metadata)
        assert isinstance(trailing, peers.client.aio.Metadata)
        assert (initial["a"], initial.get_all("a"), initial.get("b")) == ("1", ["1", "2"], None)
        assert trailing["b-bin"] == b"3"


async def test_server_gets_pairs_with_names(peers: Peers) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen([(item.key, item.value) for item in context.invocation_metadata()])
        return b""

    async with peers.serve(uu=handler) as link:
        await link.uu(b"", metadata=(("key", "value"),))
        assert ("key", "value") in await seen


@pytest.mark.parametrize("key", ["Upper", "a b", ":path", "", "caf\u00e9", "a/b"], ids=repr)
@each_arity
async def test_illegal_key_is_refused(peers: Peers, arity: str, key: str) -> None:
    await check_refusal(peers, arity, ((key, "value"),))


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "a\tb", "\x7f", "caf\u00e9"], ids=ascii)
@each_arity
async def test_illegal_value_is_refused(peers: Peers, arity: str, value: str) -> None:
    await check_refusal(peers, arity, (("key", value),))


async def check_refusal(peers: Peers, arity: str, metadata: Any) -> None:
    """Check that a call is refused before it gets out, with the error that grpcio raises for its arity."""
    async with peers.serve(**ECHO) as link:
        if arity == "uu" and peers.client.api == "aio":
            with pytest.raises(peers.client.aio.InternalError):
                await link.start(arity, b"x", metadata=metadata)
        else:
            error = await link.failure(link.start(arity, b"x", metadata=metadata))
            assert error.code() is peers.client.code.INTERNAL
            # What is wrong with it only our synchronous API says, which has no class for this.
            assert re.match("Invalid metadata$|metadata was invalid: the ", error.details())
        assert await link.uu(b"next") == b"next"


@pytest.mark.parametrize("pair", [("key-bin", "text"), ("key", 1), ("key-bin", 1)], ids=repr)
@each_arity
async def test_value_of_the_wrong_type_is_a_type_error(peers: Peers, arity: str, pair: Any) -> None:
    async with peers.serve(**ECHO) as link:
        with pytest.raises(TypeError):
            await collect(link.start(arity, b"x", metadata=(pair,)))


@pytest.mark.parametrize("metadata", [[("a",)], "ab"], ids=repr)
async def test_what_is_no_pairs_is_a_value_error(peers: Peers, metadata: Any) -> None:
    async with peers.serve(**ECHO) as link:
        with pytest.raises(ValueError):
            await collect(link.uu(b"x", metadata=metadata))


@pytest.mark.only(server="aio", reason="the synchronous API looks at them when it sends them")
@pytest.mark.parametrize(
    "metadata", [42, None, {}, {"a": "b"}, [{"a": "b"}], [["a", "b"]], [("a",)], [("a", "b", "c")], "ab"], ids=repr
)
async def test_trailing_metadata_that_is_no_pairs_is_a_type_error(peers: Peers, metadata: Any) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        try:
            context.set_trailing_metadata(metadata)
        except Exception as error:
            seen(error)
        return await context.abort(peers.server.code.ABORTED, "", metadata)

    async with peers.serve(uu=handler) as link:
        error = await link.failure(link.uu(b""))
        assert isinstance(await seen, TypeError)
        # What is false is no metadata to abort.
        if metadata:
            assert error.code() is peers.client.code.UNKNOWN
            assert "trailing" in error.details()


@pytest.mark.parametrize("place", ["initial", "trailing", "abort"])
async def test_illegal_response_metadata_is_internal(peers: Peers, place: str) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        illegal = (("Upper", "1"),)
        if place == "initial":
            await context.send_initial_metadata(illegal)
        elif place == "trailing":
            context.set_trailing_metadata(illegal)
        else:
            await context.abort(peers.server.code.ABORTED, "", illegal)
        return b""

    async with peers.serve(uu=handler) as link:
        assert (await link.failure(link.uu(b""))).code() is peers.client.code.INTERNAL


async def test_user_agent_reaches_the_server(peers: Peers) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen(dict(context.invocation_metadata())["user-agent"])
        return b""

    async with peers.serve(uu=handler) as link:
        await link.uu(b"")
        # PROTOCOL-HTTP2.md: "grpc-" language variant "/" version, then free text.
        name, _, version = (await seen).split(" ")[0].partition("/")
        assert name.startswith("grpc-")
        assert version[0].isdecimal()


async def test_application_can_add_to_the_user_agent(peers: Peers) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen(dict(context.invocation_metadata())["user-agent"])
        return b""

    options = (("grpc.primary_user_agent", "first/1"), ("grpc.secondary_user_agent", "last/2"))
    async with peers.serve(uu=handler, channel={"options": options}) as link:
        await link.uu(b"")
        words = (await seen).split(" ")
        assert words[0] == "first/1"
        assert words[-1] == "last/2"


#: Headers that are the protocol's own: an application that gives them as metadata breaks nothing, and sees none.
RESERVED = [
    ("grpc-timeout", "1H"),
    ("grpc-encoding", "nonsense"),
    ("grpc-accept-encoding", "nonsense"),
    ("te", "nonsense"),
    ("content-type", "text/plain"),
]


@pytest.mark.parametrize("pair", RESERVED, ids=[name for name, _ in RESERVED])
async def test_protocol_headers_as_metadata_change_nothing(peers: Peers, pair: tuple[str, str]) -> None:
    assert await received(peers, (("key", "value"), pair)) == [("key", "value")]


async def test_protocol_headers_are_not_metadata(peers: Peers) -> None:
    seen = Witness()

    async def handler(request: bytes, context: Any) -> bytes:
        seen({key for key, _ in context.invocation_metadata()})
        return b""

    async with peers.serve(uu=handler) as link:
        compression = peers.client.root.Compression.Gzip
        await link.uu(b"x" * 1000, timeout=60, compression=compression, metadata=(("key", "value"),))
        assert await seen == {"user-agent", "key"}


async def test_status_headers_are_not_metadata(peers: Peers) -> None:
    async def handler(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("key", "value"),))
        return b""

    async with peers.serve(uu=handler, server={"compression": peers.server.root.Compression.Gzip}) as link:
        call = link.uu(b"")
        await call
        assert tuple(await call.initial_metadata()) == ()
        assert tuple(await call.trailing_metadata()) == (("key", "value"),)


async def test_unknown_grpc_names_pass(peers: Peers) -> None:
    pairs = (("grpc-unheard-of", "value"),)
    assert await received(peers, pairs) == list(pairs)
    assert await returned(peers, pairs) == (pairs, pairs)


@pytest.mark.only(client="pygrpc", reason="between themselves grpcio's peers agree to send such values without base64")
async def test_binary_values_go_out_unpadded(peers: Peers) -> None:
    async with peers.serve(**ECHO, relay=True) as link:
        await link.uu(b"", metadata=(("key-bin", b"\x00"), ("other-bin", b"\x00\x01")))
        assert link.wire.request.header("key-bin") == "AA"
        assert link.wire.request.header("other-bin") == "AAE"


async def test_request_headers_are_those_of_the_protocol(peers: Peers) -> None:
    async with peers.serve(**ECHO, relay=True) as link:
        await link.uu(b"", timeout=60, metadata=(("key", "value"),))
        headers = link.wire.request.blocks[0]
        assert dict(headers[:4]).keys() == {":method", ":scheme", ":path", ":authority"}
        named = dict(headers)
        assert (named[":method"], named[":path"]) == ("POST", "/behaviour.Peer/uu")
        assert named[":scheme"] == peers.transport.scheme
        assert named[":authority"] == link.target
        assert (named["te"], named["content-type"], named["key"]) == ("trailers", "application/grpc", "value")
        assert headers[-1] == ("key", "value")
        number, unit = named["grpc-timeout"][:-1], named["grpc-timeout"][-1]
        assert number.isdecimal()
        assert 1 <= len(number) <= 8
        assert unit in "HMSmun"


async def test_response_headers_are_those_of_the_protocol(peers: Peers) -> None:
    async with peers.serve(**ECHO, relay=True) as link:
        await link.uu(b"")
        head, trailers = link.wire.response.blocks
        assert head[0] == (":status", "200")
        assert ("content-type", "application/grpc") in head
        assert ("grpc-status", "0") in trailers


async def test_authority_can_be_set(peers: Peers) -> None:
    channel = {"options": (("grpc.default_authority", "example.test"),)}
    async with peers.serve(**ECHO, relay=True, channel=channel) as link:
        await link.uu(b"")
        assert link.wire.request.header(":authority") == "example.test"
