"""What options mean to connections, on either engine."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import SettingsFrame

from pygrpc._version import PYGRPC_VERSION
from pygrpc.core.configuration import channel_settings, http2_settings, message_limits, upkeep, user_agent
from pygrpc.core.connection_ages import AgeSettings
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.keepalive import NO_KEEPALIVE, KeepaliveSettings, PingLimits
from pygrpc.options import Options, parse_options
from pygrpc.status import StatusCode
from tests.core.pair import Pair, raw_client, raw_server

HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 1, 3, 5, 6


def options(**pairs: Any) -> Options:
    return parse_options([(f"grpc.{key.replace('__', '.')}", value) for key, value in pairs.items()])


def test_the_defaults_are_those_of_the_settings() -> None:
    assert http2_settings(Options()) == Http2Settings()


def test_sizes_go_where_they_belong() -> None:
    limits = message_limits(options(max_receive_message_length=1, max_send_message_length=2, max_metadata_size=40_000))
    assert (limits.receive, limits.send, limits.metadata) == (1, 2, 50_000)
    assert http2_settings(options(http2__lookahead_bytes=1 << 22)).stream_window == 1 << 22


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ({}, "grpc-python-pygrpc/VERSION"),
        ({"primary_user_agent": "first"}, "first grpc-python-pygrpc/VERSION"),
        ({"secondary_user_agent": b"last"}, "grpc-python-pygrpc/VERSION last"),
    ],
)
def test_the_user_agent(pairs: dict[str, Any], expected: str) -> None:
    assert user_agent(options(**pairs)).decode() == expected.replace("VERSION", PYGRPC_VERSION)


def test_a_channel_asks_nobody_and_a_server_every_two_hours() -> None:
    assert channel_settings(Options()).keepalive == NO_KEEPALIVE
    server = upkeep(Options())
    assert server.keepalive == KeepaliveSettings(7200.0, 20.0, True, 0, 0.0)
    assert (server.pings, server.ages) == (PingLimits(300.0, 2, False), AgeSettings())


def test_keepalive_and_ages_go_where_they_belong() -> None:
    both = options(keepalive_time_ms=5, keepalive_timeout_ms=6, keepalive_permit_without_calls=1)
    assert channel_settings(both).keepalive == KeepaliveSettings(0.005, 0.006, True, 2)
    assert upkeep(both).keepalive == KeepaliveSettings(0.005, 0.006, True, 0, 0.0)
    assert upkeep(both).pings.without_calls
    assert channel_settings(options(http2__max_pings_without_data=7)).keepalive.pings_without_data == 7
    server = upkeep(
        options(
            http2__min_recv_ping_interval_without_data_ms=1000,
            http2__max_ping_strikes=3,
            max_connection_idle_ms=2000,
            max_connection_age_ms=4000,
            max_connection_age_grace_ms=5000,
        )
    )
    assert (server.pings, server.ages) == (PingLimits(1.0, 3), AgeSettings(2.0, 4.0, 5.0))


@pytest.mark.parametrize("side", ["client", "server"])
def test_settings_are_announced(side: str) -> None:
    settings = http2_settings(
        options(
            http2__max_frame_size=20_000,
            absolute_max_metadata_size=30_000,
            max_concurrent_streams=7,
            http2__hpack_table_size__decoder=1000,
        )
    )
    peer: Any = raw_client(settings)[0] if side == "server" else raw_server(settings)[0]
    announced = next(frame.settings for frame in peer.frames if isinstance(frame, SettingsFrame))
    assert announced[MAX_FRAME_SIZE] == 20_000
    assert announced[MAX_HEADER_LIST_SIZE] == 30_000
    assert announced[HEADER_TABLE_SIZE] == 1000
    # A client says how many streams it lets a server open: none.
    assert announced[MAX_CONCURRENT_STREAMS] == (7 if side == "server" else 0)


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_calls_work_with_tables_of_any_size(size: int) -> None:
    pairs = {"http2__hpack_table_size__decoder": size, "http2__hpack_table_size__encoder": size}
    settings = http2_settings(options(**pairs))
    pair = Pair(client=settings, server=settings)
    for number in range(50):
        # Each value comes three times: a new field, one that enters the table, and one that is in it.
        value = b"%d" % (number // 3) * 40
        client, server = pair.open(b"x", metadata=[(b"key", value)])
        assert dict(server.call.head.metadata)["key"] == value.decode()
        server.send(b"y").finish(metadata=[(b"key", value)])
        pair.exchange()
        assert client.read() == [b"y"]
        assert client.code is StatusCode.OK
