"""Channel and server options."""

import logging
import math
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from pygrpc import options as module
from pygrpc.compression import Compression
from pygrpc.options import Options, parse_options


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_reported", set())


@pytest.mark.parametrize("arguments", [None, (), []])
def test_the_defaults(arguments: Any) -> None:
    options = parse_options(arguments)
    assert options == Options()
    assert options.max_receive_message_length == 4 << 20
    assert options.max_send_message_length == -1
    assert options.max_concurrent_streams is None
    assert options.max_metadata_size == 16_384
    assert options.so_reuseport is True


@pytest.mark.parametrize(
    ("key", "value", "field", "result"),
    [
        ("grpc.max_receive_message_length", -1, "max_receive_message_length", -1),
        ("grpc.max_receive_message_length", 10, "max_receive_message_length", 10),
        ("grpc.max_send_message_length", 10, "max_send_message_length", 10),
        ("grpc.max_concurrent_streams", 3, "max_concurrent_streams", 3),
        ("grpc.max_concurrent_streams", 0, "max_concurrent_streams", 0),
        ("grpc.max_concurrent_streams", -1, "max_concurrent_streams", None),
        ("grpc.max_concurrent_streams", 1 << 40, "max_concurrent_streams", None),
        ("grpc.absolute_max_metadata_size", -1, "max_metadata_size", 0),
        ("grpc.absolute_max_metadata_size", 1 << 40, "max_metadata_size", 2**31 - 1),
        ("grpc.initial_reconnect_backoff_ms", 0, "initial_reconnect_backoff", 0.1),
        ("grpc.absolute_max_metadata_size", 100, "max_metadata_size", 100),
        ("grpc.http2.lookahead_bytes", 1 << 22, "stream_window", 1 << 22),
        ("grpc.http2.lookahead_bytes", 1, "stream_window", 65_535),
        ("grpc.http2.lookahead_bytes", 1 << 40, "stream_window", 2**31 - 1),
        ("grpc.http2.max_frame_size", 1, "max_frame_size", 16_384),
        ("grpc.http2.max_frame_size", 1 << 30, "max_frame_size", 2**24 - 1),
        ("grpc.so_reuseport", 0, "so_reuseport", False),
        ("grpc.so_reuseport", 1, "so_reuseport", True),
        ("grpc.server_handshake_timeout_ms", 1500, "handshake_timeout", 1.5),
        ("grpc.server_handshake_timeout_ms", -5, "handshake_timeout", 0.001),
        ("grpc.max_receive_message_length", -7, "max_receive_message_length", -1),
        ("grpc.max_send_message_length", -7, "max_send_message_length", -1),
        ("grpc.max_send_message_length", 0, "max_send_message_length", 0),
        ("grpc.http2.hpack_table_size.decoder", 0, "header_table_size", 0),
        ("grpc.http2.hpack_table_size.encoder", 1 << 20, "encoder_table_size", 1 << 20),
        ("grpc.max_allowed_incoming_connections", 5, "max_connections", 5),
        ("grpc.max_allowed_incoming_connections", -1, "max_connections", None),
        ("grpc.default_compression_level", 9, "compression_level", 3),
        (b"grpc.max_send_message_length", 10, "max_send_message_length", 10),
        ("grpc.default_authority", "host", "default_authority", "host"),
        ("grpc.default_authority", b"host", "default_authority", "host"),
        ("grpc.primary_user_agent", "agent", "primary_user_agent", "agent"),
        ("grpc.secondary_user_agent", "agent", "secondary_user_agent", "agent"),
        ("grpc.default_compression_algorithm", 2, "compression", 2),
        ("grpc.initial_reconnect_backoff_ms", 100, "initial_reconnect_backoff", 0.1),
        ("grpc.min_reconnect_backoff_ms", 100, "min_reconnect_backoff", 0.1),
        ("grpc.max_reconnect_backoff_ms", 100, "max_reconnect_backoff", 0.1),
        ("grpc.keepalive_time_ms", 500, "keepalive_time", 0.5),
        ("grpc.keepalive_time_ms", 0, "keepalive_time", 0.001),
        ("grpc.keepalive_time_ms", 2**31 - 1, "keepalive_time", math.inf),
        ("grpc.keepalive_timeout_ms", 0, "keepalive_timeout", 0.0),
        ("grpc.keepalive_timeout_ms", 2**31 - 1, "keepalive_timeout", math.inf),
        ("grpc.keepalive_permit_without_calls", 1, "keepalive_permit_without_calls", True),
        ("grpc.http2.max_pings_without_data", -1, "max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", -1, "max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", -1, "min_ping_interval", 0.0),
        ("grpc.max_connection_idle_ms", 0, "max_connection_idle", 0.001),
        ("grpc.max_connection_age_ms", 2**31 - 1, "max_connection_age", math.inf),
        ("grpc.max_connection_age_grace_ms", 0, "max_connection_age_grace", 0.0),
    ],
)
def test_an_option_is_read(key: str, value: Any, field: str, result: Any) -> None:
    assert getattr(parse_options([(key, value)]), field) == result


def test_a_later_pair_wins() -> None:
    pairs = [("grpc.max_send_message_length", 1), ("grpc.max_send_message_length", 2)]
    assert parse_options(pairs).max_send_message_length == 2


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [
        ({"grpc.max_metadata_size": 100}, 16_384),
        ({"grpc.max_metadata_size": 40_000}, 50_000),
        ({"grpc.absolute_max_metadata_size": 100}, 100),
        ({"grpc.max_metadata_size": 40_000, "grpc.absolute_max_metadata_size": 45_000}, 45_000),
    ],
)
def test_the_metadata_limit_is_the_absolute_one(sizes: dict[str, int], limit: int) -> None:
    assert parse_options(sizes.items()).max_metadata_size == limit


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grpc.max_receive_message_length", "many"),
        ("grpc.max_receive_message_length", float("inf")),
        ("grpc.server_handshake_timeout_ms", "soon"),
        ("grpc.absolute_max_metadata_size", "a"),
        ("grpc.max_metadata_size", "a"),
        ("grpc.default_authority", b"\xff"),
    ],
)
def test_a_value_of_the_wrong_type_names_the_option(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        parse_options([(key, value)])


@pytest.mark.parametrize("key", ["grpc.max_send_message_length", "grpc.default_authority", "grpc.nonsense"])
@pytest.mark.parametrize("value", [None, [1], {}, object()], ids=["None", "list", "dict", "object"])
@pytest.mark.parametrize("read", [parse_options, lambda pairs: grpc.insecure_channel("localhost:1", options=pairs)])
def test_a_value_that_is_no_value_is_a_type_error_as_in_grpcio(key: str, value: Any, read: Any) -> None:
    with pytest.raises(TypeError, match="xpected"):
        read([(key, value)])


def test_a_key_that_is_no_text_is_a_type_error_as_in_grpcio() -> None:
    with pytest.raises(TypeError, match="must be a str"):
        parse_options([(5, 1)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        grpc.insecure_channel("localhost:1", options=[(5, 1)])


def reported(caplog: pytest.LogCaptureFixture, key: Any, value: Any = 1) -> list[str]:
    with caplog.at_level(logging.WARNING, "pygrpc"):
        assert parse_options([(key, value)]) == Options()
        parse_options([(key, value), (key, value)])
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("key", ["grpc.nonsense", "no.such.thing", "grpc.grpc.default_compression_level"])
@pytest.mark.parametrize("value", [1, "text", b"bytes", 1.5])
def test_an_unknown_option_is_reported_once(key: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert reported(caplog, key, value) == [f"the option {key!r} is unknown and has no effect; is it misspelt?"]


@pytest.mark.parametrize("key", ["grpc.enable_channelz", "grpc.tcp_user_timeout_ms", b"grpc.census"])
def test_an_option_without_effect_is_reported_once(key: Any, caplog: pytest.LogCaptureFixture) -> None:
    name = key.decode() if isinstance(key, bytes) else key
    assert reported(caplog, key) == [f"the option {name!r} is not supported and has no effect"]


@pytest.mark.parametrize("key", ["SingleThreadedUnaryStream", "grpc.use_local_subchannel_pool"])
def test_an_option_that_asks_for_what_is_so_is_not_reported(key: str, caplog: pytest.LogCaptureFixture) -> None:
    assert reported(caplog, key) == []


@pytest.mark.parametrize(("level", "algorithm"), [(0, 0), (1, 2), (2, 1), (3, 1)])
def test_a_level_chooses_the_algorithm_of_responses(level: int, algorithm: int) -> None:
    pairs = [("grpc.default_compression_level", level), ("grpc.default_compression_algorithm", 2)]
    assert parse_options(pairs).response_compression == algorithm
    # Of requests it doesn't, and what the program says counts for more.
    assert parse_options(pairs).compression == 2
    assert parse_options(pairs, Compression.Gzip).response_compression == 2


def test_an_algorithm_that_is_given_wins_over_the_option() -> None:
    pairs = [("grpc.default_compression_algorithm", 1)]
    assert parse_options(pairs, Compression.Gzip).compression == 2
    assert parse_options(pairs, Compression.NoCompression).compression == 0
    assert parse_options(pairs).compression == 1


def test_options_come_from_any_iterable() -> None:
    pairs = [("grpc.max_metadata_size", 40_000), ("grpc.max_send_message_length", 7)]
    assert parse_options(iter(pairs)) == parse_options(pairs)


def test_an_algorithm_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"'grpc\.default_compression_algorithm' can't be 3"):
        parse_options([("grpc.default_compression_algorithm", 3)])
    with pytest.raises(ValueError, match="42 is not a valid Compression"):
        parse_options([], 42)


def test_the_documentation_names_every_key() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "options.md").read_text()
    documented = set(re.findall(r"`([\w.]+)`", text))
    keys = {*module._KNOWN, *module._ALWAYS_SO, *module._WITHOUT_EFFECT}
    assert sorted(keys - documented) == []
    acting = re.findall(r"^\| `(grpc[\w.]+)` \|", text.partition("## What acts")[2].partition("## ")[0], re.MULTILINE)
    about_tls = {"grpc.ssl_target_name_override", "grpc.ssl_session_cache"}
    assert set(acting) == {*module._KNOWN, *about_tls}


@pytest.mark.parametrize(
    ("algorithms", "compression", "used"),
    [(0b111, 2, 2), (0b11, 2, 0), (0b11, 1, 1), (0b100, 2, 2), (0, 1, 0), (0, 0, 0)],
)
def test_a_default_that_is_disabled_means_no_compression(algorithms: int, compression: int, used: int) -> None:
    pairs = [("grpc.compression_enabled_algorithms_bitset", algorithms)]
    options = parse_options(pairs, compression)
    assert options.request_compression == options.response_compression == used
    by_level = parse_options([*pairs, ("grpc.default_compression_level", 1)])
    assert by_level.response_compression == (2 if algorithms & 0b100 else 0)
