"""Header blocks of a call (PROTOCOL-HTTP2.md, "Requests" and "Responses"; RFC 9113, section 8)."""

import pytest

from pygrpc.core.headers import (
    MalformedHeaders,
    RequestRejected,
    ResponseHead,
    parse_request,
    parse_response,
    parse_trailers,
    request_headers,
    response_headers,
    trailers,
    trailers_only,
)
from pygrpc.core.http2.codes import ErrorCode
from pygrpc.core.http2.engine import HeaderBlock
from pygrpc.core.metadata import DEFAULT_METADATA_SIZE, Header, header_list_size
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, RESPONSE, changed, without

LIMIT = 16_384
SPACE = b"x" * 100

# What no header block may hold, whatever it is a part of (RFC 9113, sections 8.2 and 8.3).
MALFORMED_FIELDS: dict[str, Header] = {
    "upper case": (b"Key", b"value"),
    "an empty name": (b"", b"value"),
    "a space in a name": (b"a b", b"value"),
    "a control character in a name": (b"a\x01", b"value"),
    "a byte beyond ASCII in a name": (b"k\xc3", b"value"),
    "DEL in a name": (b"k\x7f", b"value"),
    "a colon within a name": (b"a:b", b"value"),
    "NUL in a value": (b"key", b"a\0b"),
    "CR in a value": (b"key", b"a\rb"),
    "LF in a value": (b"key", b"a\nb"),
    "LF in a field of the protocol": (b"grpc-timeout", b"1S\n"),
    "connection": (b"connection", b"close"),
    "proxy-connection": (b"proxy-connection", b"close"),
    "keep-alive": (b"keep-alive", b"1"),
    "transfer-encoding": (b"transfer-encoding", b"chunked"),
    "upgrade": (b"upgrade", b"h2c"),
    "te other than trailers": (b"te", b"gzip"),
    "an unknown pseudo-header": (b":nonsense", b"value"),
    "a pseudo-header behind a field": (b":path", b"/x"),
}


# Requests.


def test_a_request_is_built_in_the_order_of_the_protocol() -> None:
    headers = request_headers("/a.B/C", "host:1", b"http", b"agent/1", 1.5, b"gzip", [(b"k", b"1"), (b"k", b"2")])
    assert list(headers) == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a.B/C"),
        (b":authority", b"host:1"),
        (b"grpc-timeout", b"1500m"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"agent/1"),
        (b"grpc-accept-encoding", b"identity, deflate, gzip"),
        (b"grpc-encoding", b"gzip"),
        (b"k", b"1"),
        (b"k", b"2"),
    ]


def test_a_request_without_deadline_and_compression_says_nothing_of_them() -> None:
    names = {name for name, _ in request_headers("/a.B/C", "host:1", b"https", b"agent/1", None, None, [])}
    assert not names & {b"grpc-timeout", b"grpc-encoding"}


@pytest.mark.parametrize("metadata", [[], [(b"k", b"v")]], ids=["plain", "with metadata"])
def test_requests_that_may_come_again_are_tuples(metadata: list[Header]) -> None:
    first, second = (
        request_headers("/a.B/C", "host:1", b"http", b"agent/1", None, None, metadata, b"identity") for _ in range(2)
    )
    assert type(first) is tuple
    assert first == second
    assert first[-1 - len(metadata)] == (b"grpc-accept-encoding", b"identity")


def test_what_was_built_is_read() -> None:
    built = request_headers("/a.B/C", "host:1", b"http", b"agent/1", 2.0, b"gzip", [(b"k", b"v"), (b"b-bin", b"YQ")])
    head = parse_request(built, LIMIT)
    assert (head.path, head.authority, head.timeout, head.encoding) == ("/a.B/C", "host:1", 2.0, b"gzip")
    assert head.accept_encoding == {b"identity", b"deflate", b"gzip"}
    assert head.metadata == (("user-agent", "agent/1"), ("k", "v"), ("b-bin", b"a"))


def test_the_least_that_a_request_needs() -> None:
    needed = [(b":scheme", b"http"), (b":path", b"/x"), (b":method", b"POST"), (b"content-type", b"application/grpc")]
    head = parse_request(needed, LIMIT)
    assert head == ("/x", "", None, None, frozenset(), ())


def test_the_order_of_fields_means_nothing() -> None:
    fields = [(b"k", b"v"), (b"grpc-timeout", b"1S"), (b"content-type", b"application/grpc"), (b"te", b"trailers")]
    head = parse_request([*REQUEST[3::-1], *fields], LIMIT)
    assert (head.path, head.timeout, head.metadata) == ("/a.B/C", 1.0, (("k", "v"),))


@pytest.mark.parametrize(
    ("field", "attribute", "value"),
    [
        ((b"grpc-timeout", b"20m"), "timeout", 0.02),
        ((b"grpc-timeout", b"123456789n"), "timeout", pytest.approx(0.123456789)),
        ((b"grpc-encoding", b"identity"), "encoding", None),
        ((b"grpc-encoding", b"br"), "encoding", b"br"),
        ((b"grpc-accept-encoding", b"gzip"), "accept_encoding", {b"gzip"}),
        ((b"grpc-accept-encoding", b"gzip,identity , br"), "accept_encoding", {b"gzip", b"identity", b"br"}),
        ((b"grpc-accept-encoding", b""), "accept_encoding", frozenset()),
        ((b"host", b"other"), "authority", "authority"),
        ((b"grpc-previous-rpc-attempts", b"1"), "metadata", (("grpc-previous-rpc-attempts", "1"),)),
        ((b"date", b"today"), "metadata", ()),
        ((b"user-agent", b"me"), "metadata", (("user-agent", "me"),)),
        ((b"k", b" space around "), "metadata", (("k", " space around "),)),
        ((b"grpc-trace-bin", b"YQ"), "metadata", (("grpc-trace-bin", b"a"),)),
    ],
    ids=repr,
)
def test_a_field_is_read(field: Header, attribute: str, value: object) -> None:
    assert getattr(parse_request([*REQUEST, field], LIMIT), attribute) == value


def test_host_stands_in_for_the_authority() -> None:
    assert parse_request([*without(REQUEST, b":authority"), (b"host", b"other")], LIMIT).authority == "other"


@pytest.mark.parametrize(
    "content_type",
    [b"application/grpc", b"application/grpc+proto", b"application/grpc+json", b"application/grpc;charset=utf-8"],
)
def test_content_types_of_grpc(content_type: bytes) -> None:
    assert parse_request(changed(REQUEST, b"content-type", content_type), LIMIT).path == "/a.B/C"


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"text/html", b"application/json", b"application/grp", b"application/grpc-web", b"application/grpcx"],
)
def test_another_content_type_is_answered_with_415(content_type: bytes | None) -> None:
    headers = without(REQUEST, b"content-type")
    if content_type is not None:
        headers.append((b"content-type", content_type))
    with pytest.raises(RequestRejected) as caught:
        parse_request(headers, LIMIT)
    assert caught.value.http_status == b"415"
    assert caught.value.status.code is StatusCode.UNKNOWN
    assert (content_type.decode() if content_type else "content-type") in caught.value.status.details


def test_another_method_is_answered_with_405() -> None:
    with pytest.raises(RequestRejected) as caught:
        parse_request(changed(REQUEST, b":method", b"GET"), LIMIT)
    assert caught.value.http_status == b"405"
    assert caught.value.extra == ((b"allow", b"POST"),)
    assert caught.value.status == (StatusCode.INTERNAL, "a gRPC request is a POST, not a GET", (), "")


@pytest.mark.parametrize(
    "field",
    [
        (b"grpc-timeout", b""),
        (b"grpc-timeout", b"soon"),
        (b"grpc-timeout", b"-1S"),
        (b"grpc-timeout", b"1s"),
        (b"grpc-timeout", b"\xff\xff"),
        (b"k-bin", b"*"),
    ],
    ids=repr,
)
def test_a_value_that_cannot_be_read_is_internal(field: Header) -> None:
    with pytest.raises(RequestRejected) as caught:
        parse_request([*REQUEST, field], LIMIT)
    assert (caught.value.http_status, caught.value.status.code) == (b"200", StatusCode.INTERNAL)
    assert field[0].decode() in caught.value.status.details


@pytest.mark.parametrize("excess", [0, 1])
def test_the_size_of_metadata_is_limited(excess: int) -> None:
    headers = [*REQUEST, (b"k", SPACE)]
    limit = header_list_size(headers) - excess
    if not excess:
        assert parse_request(headers, limit).metadata == (("k", SPACE.decode()),)
        return
    with pytest.raises(RequestRejected) as caught:
        parse_request(headers, limit)
    assert caught.value.status.code is StatusCode.RESOURCE_EXHAUSTED
    assert f"{limit + 1} vs. {limit} bytes" in caught.value.status.details


@pytest.mark.parametrize("field", MALFORMED_FIELDS.values(), ids=MALFORMED_FIELDS)
def test_a_malformed_request_is_a_stream_error(field: Header) -> None:
    with pytest.raises(MalformedHeaders) as caught:
        parse_request([*REQUEST, field], LIMIT)
    assert caught.value.error_code is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_a_request_needs_its_pseudo_headers(name: bytes) -> None:
    with pytest.raises(MalformedHeaders):
        parse_request(without(REQUEST, name), LIMIT)
    with pytest.raises(MalformedHeaders):
        parse_request(changed(REQUEST, name, b""), LIMIT)
    with pytest.raises(MalformedHeaders):
        parse_request([(name, b"again"), *REQUEST], LIMIT)


def outcome(headers: list[Header]) -> object:
    try:
        return parse_request(headers, LIMIT)
    except MalformedHeaders as error:
        return str(error)
    except RequestRejected as rejected:
        return rejected.status, rejected.http_status


@pytest.mark.parametrize(
    "fields",
    [
        [(b"grpc-timeout", b"1S"), (b"x", b"1"), (b"x-bin", b"AQ"), (b"x", b"2")],
        [(b"x", b"1"), (b"grpc-timeout", b"soon"), (b"y-bin", b"?")],
        [(b"y-bin", b"?"), (b"z-bin", b"!"), (b"x", b"1")],
        [(b"x", b"1"), (b":path", b"/late"), (b"x", b"2")],
        [(b"x", b"1"), (b"y", b"2"), (b"Z", b"3")],
        [(b"grpc-encoding", b"gzip"), (b"x", b"caf\xc3\xa9"), (b"x", b"\xff"), (b"x", b"a\0b")],
    ],
)
def test_what_is_kept_of_a_beginning_changes_nothing(fields: list[Header]) -> None:
    request = [*REQUEST, *fields]
    expected = outcome(request)
    for cut in range(len(request) + 1):
        beginning = HeaderBlock(request[:cut])
        # For the second request the beginning is read already.
        for _ in range(2):
            block = HeaderBlock(request)
            block.beginning = beginning
            assert outcome(block) == expected, cut


def test_a_response_is_no_request() -> None:
    with pytest.raises(MalformedHeaders):
        parse_request([(b":status", b"200"), *REQUEST], LIMIT)
    with pytest.raises(MalformedHeaders):
        parse_request([], LIMIT)


# Responses.


def test_a_response_is_built_and_read() -> None:
    built = response_headers(b"gzip", [(b"k", b"v")])
    assert built[0] == (b":status", b"200")
    head = parse_response(built)
    assert head == ResponseHead(b"gzip", frozenset([b"identity", b"deflate", b"gzip"]), (("k", "v"),))
    assert b"grpc-encoding" not in dict(response_headers(None, []))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (changed(RESPONSE, b":status", b"404"), StatusCode.UNIMPLEMENTED),
        (changed(RESPONSE, b":status", b"503"), StatusCode.UNAVAILABLE),
        (changed(RESPONSE, b":status", b"500"), StatusCode.UNKNOWN),
        (changed(RESPONSE, b"content-type", b"text/html"), StatusCode.UNKNOWN),
        (without(RESPONSE, b"content-type"), StatusCode.UNKNOWN),
        ([*RESPONSE, (b"grpc-status", b"5")], StatusCode.NOT_FOUND),
        ([*changed(RESPONSE, b":status", b"404"), (b"grpc-status", b"5")], StatusCode.NOT_FOUND),
        ([*RESPONSE, (b"k-bin", b"*")], StatusCode.INTERNAL),
    ],
)
def test_what_is_no_response_of_grpc_is_a_status(headers: list[Header], code: StatusCode) -> None:
    status = parse_response(headers)
    assert isinstance(status, Status)
    assert status.code is code


@pytest.mark.parametrize("content_type", [b"application/grpc", b"application/grpc+proto"])
def test_a_client_takes_content_types_of_grpc(content_type: bytes) -> None:
    assert isinstance(parse_response(changed(RESPONSE, b"content-type", content_type)), ResponseHead)


@pytest.mark.parametrize(
    "status", [b"", b"20", b"2000", b"abc", b"-20", None], ids=["empty", "short", "long", "text", "sign", "none"]
)
def test_a_response_needs_a_status_of_three_digits(status: bytes | None) -> None:
    headers = without(RESPONSE, b":status") if status is None else changed(RESPONSE, b":status", status)
    with pytest.raises(MalformedHeaders):
        parse_response(headers)
    with pytest.raises(MalformedHeaders):
        parse_trailers(headers, trailers_only=True)


@pytest.mark.parametrize("field", MALFORMED_FIELDS.values(), ids=MALFORMED_FIELDS)
def test_a_malformed_response_is_a_stream_error(field: Header) -> None:
    with pytest.raises(MalformedHeaders):
        parse_response([*RESPONSE, field])
    with pytest.raises(MalformedHeaders):
        parse_trailers([(b"grpc-status", b"0"), field], trailers_only=False)
    with pytest.raises(MalformedHeaders):
        parse_trailers([*RESPONSE, field], trailers_only=True)


# Trailers.


def test_the_status_is_sent_even_when_it_is_ok() -> None:
    assert list(trailers(StatusCode.OK, "", [])) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("text", ["x", "\u00e9", "\U0001f600", "%"], ids=ascii)
def test_a_status_message_is_cut_where_it_would_cost_the_connection(text: str) -> None:
    built = trailers(StatusCode.UNKNOWN, text * 1_000_000, [])
    assert header_list_size(built) < DEFAULT_METADATA_SIZE
    status = parse_trailers(built, trailers_only=False)
    assert status.code is StatusCode.UNKNOWN
    assert status.details.strip(text) == ""
    # What is left fills the limit but for less than one character.
    assert 15_000 - 12 < len(dict(built)[b"grpc-message"]) <= 15_000


def test_trailers_are_built_and_read() -> None:
    built = trailers(StatusCode.UNAUTHENTICATED, "no 100%\n", [(b"k", b"1"), (b"k", b"2"), (b"b-bin", b"YQ")])
    assert built[:2] == [(b"grpc-status", b"16"), (b"grpc-message", b"no 100%25%0A")]
    status = Status(StatusCode.UNAUTHENTICATED, "no 100%\n", (("k", "1"), ("k", "2"), ("b-bin", b"a")))
    assert parse_trailers(built, trailers_only=False) == status
    assert parse_trailers(trailers_only(b"200", built), trailers_only=True) == status


@pytest.mark.parametrize("code", StatusCode)
def test_every_code_travels(code: StatusCode) -> None:
    assert parse_trailers(trailers(code, "why", []), trailers_only=False) == Status(code, "why")


@pytest.mark.parametrize(
    ("headers", "only", "code"),
    [
        ([], False, StatusCode.UNKNOWN),
        ([(b"k", b"v")], False, StatusCode.UNKNOWN),
        ([(b"grpc-status", b"17")], False, StatusCode.UNKNOWN),
        ([(b"grpc-status", b"abc")], False, StatusCode.INTERNAL),
        ([(b"grpc-status", b"")], False, StatusCode.INTERNAL),
        ([(b"grpc-status", b"0"), (b"k-bin", b"*")], False, StatusCode.INTERNAL),
        ([(b":status", b"200")], True, StatusCode.UNKNOWN),
        ([(b":status", b"404")], True, StatusCode.UNIMPLEMENTED),
        ([(b":status", b"401"), (b"content-type", b"text/html")], True, StatusCode.UNAUTHENTICATED),
        ([(b":status", b"404"), (b"grpc-status", b"5")], True, StatusCode.NOT_FOUND),
        ([(b":status", b"500"), (b"grpc-status", b"0")], True, StatusCode.OK),
    ],
)
def test_what_trailers_mean(headers: list[Header], only: bool, code: StatusCode) -> None:
    assert parse_trailers(headers, trailers_only=only).code is code


def test_trailers_have_no_pseudo_headers() -> None:
    with pytest.raises(MalformedHeaders):
        parse_trailers([(b":status", b"200"), (b"grpc-status", b"0")], trailers_only=False)


def test_only_the_parts_of_the_protocol_are_left_out_of_metadata() -> None:
    fields = [(b"grpc-status", b"0"), (b"content-type", b"application/grpc"), (b"date", b"today"), (b"server", b"me")]
    assert parse_trailers([*fields, (b"grpc-status-details-bin", b"YQ")], trailers_only=False).metadata == (
        ("server", "me"),
        ("grpc-status-details-bin", b"a"),
    )


# Blocks that come again.


def test_what_was_read_of_a_block_is_kept_with_it() -> None:
    request, response = HeaderBlock([*REQUEST, (b"k", b"v")]), HeaderBlock(RESPONSE)
    ending = HeaderBlock(trailers(StatusCode.ABORTED, "why", []))
    assert parse_request(request, LIMIT) is parse_request(request, LIMIT)
    assert parse_response(response) is parse_response(response)
    assert parse_trailers(ending, trailers_only=False) is parse_trailers(ending, trailers_only=False)


def test_a_block_that_was_read_as_one_thing_is_not_taken_for_another() -> None:
    request, response, ending = HeaderBlock(REQUEST), HeaderBlock(RESPONSE), HeaderBlock([(b"grpc-status", b"0")])
    parse_request(request, LIMIT)
    parse_response(response)
    parse_trailers(ending, trailers_only=False)
    for block in (response, ending):
        with pytest.raises(MalformedHeaders):
            parse_request(block, LIMIT)
    for block in (request, ending):
        with pytest.raises(MalformedHeaders):
            parse_response(block)
    for block in (request, response):
        with pytest.raises(MalformedHeaders):
            parse_trailers(block, trailers_only=False)
    with pytest.raises(MalformedHeaders):
        parse_trailers(ending, trailers_only=True)
    # A head can also be all that there is of a response: then it has no status.
    assert parse_trailers(response, trailers_only=True).code is StatusCode.UNKNOWN


def test_a_block_that_both_begins_and_ends_is_read_anew_each_time() -> None:
    block = HeaderBlock([*RESPONSE, (b"grpc-status", b"5")])
    for _ in range(2):
        assert parse_trailers(block, trailers_only=True).code is StatusCode.NOT_FOUND
        with pytest.raises(MalformedHeaders):
            parse_trailers(block, trailers_only=False)
        early = parse_response(block)
        assert isinstance(early, Status)
        assert early.code is StatusCode.NOT_FOUND


def test_a_block_that_is_wrong_stays_wrong() -> None:
    malformed = HeaderBlock([*REQUEST, (b"Key", b"v")])
    rejected = HeaderBlock(changed(REQUEST, b"content-type", b"text/html"))
    for _ in range(2):
        with pytest.raises(MalformedHeaders):
            parse_request(malformed, LIMIT)
        with pytest.raises(RequestRejected):
            parse_request(rejected, LIMIT)


@pytest.mark.parametrize("size", [16_384, 16_385])
def test_metadata_of_a_response_is_limited_too(size: int) -> None:
    def padded(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [*fields, (b"k", b"v" * (size - header_list_size(fields) - 33))]

    text = f"received metadata size exceeds limit: {size} vs. 16384 bytes (grpc.absolute_max_metadata_size)"
    refused = size > 16_384
    head = parse_response(padded(RESPONSE))
    assert head == Status(StatusCode.RESOURCE_EXHAUSTED, text) if refused else isinstance(head, ResponseHead)
    for fields, only in (([(b"grpc-status", b"0")], False), ([*RESPONSE, (b"grpc-status", b"0")], True)):
        status = parse_trailers(padded(fields), only)
        assert (status.code is StatusCode.RESOURCE_EXHAUSTED) is refused
        assert parse_trailers(padded(fields), only, size).code is StatusCode.OK
