"""Two cores back to back: messages through any split of the bytes, and flow control both ways."""

from collections.abc import Iterator

import pytest

from pygrpc.core.call import SEND_BACKLOG, Call, IllegalTransition, MessageLimits
from pygrpc.core.client_call import ClientState
from pygrpc.core.framing import PREFIX_SIZE, frame_message
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.server_call import ServerState
from pygrpc.status import StatusCode
from tests.core.pair import REQUEST, ClientEnd, Pair, ServerEnd, raw_client

pytestmark = pytest.mark.usefixtures("each_engine")

CHUNKS = [None, 1, 7, 1000]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_unary_call(chunk: int | None) -> None:
    pair = Pair(connect=False)
    client = pair.start(b"request", response_streaming=False)
    pair.exchange(chunk)
    (server,) = pair.server_owner.calls
    assert server.read() == [b"request"]
    server.send(b"response").finish(details="fine")
    pair.exchange(chunk)
    assert client.read() == [b"response"]
    assert (client.code, client.details) == (StatusCode.OK, "fine")
    assert server.events[-1] == "closed"
    assert_quiet(pair)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_conversation(chunk: int | None) -> None:
    pair = Pair()
    client = pair.start(b"0", end=False)
    pair.exchange(chunk)
    (server,) = pair.server_owner.calls
    for number in range(5):
        (request,) = server.read()
        server.send(request + b"!")
        pair.exchange(chunk)
        assert client.read() == [b"%d!" % number]
        client.send(b"%d" % (number + 1), end=number == 4)
        pair.exchange(chunk)
    assert server.read() == [b"5"]
    assert server.call.requests_ended
    server.finish(StatusCode.ABORTED)
    pair.exchange(chunk)
    assert client.code is StatusCode.ABORTED
    assert_quiet(pair)


@pytest.mark.parametrize("chunk", [None, 999])
@pytest.mark.parametrize("sizes", [(0,) * 20, (1, 0, 5, 100_000, 3), (65_535 - PREFIX_SIZE,) * 3, (300_000,)], ids=str)
def test_messages_of_any_size_go_both_ways(sizes: tuple[int, ...], chunk: int | None) -> None:
    pair = Pair()
    messages = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    client, server = pair.open(*messages)
    server.call.send_headers([])
    assert server.read() == messages
    server.send(*messages).finish()
    pair.exchange(chunk)
    assert client.read() == messages
    assert client.code is StatusCode.OK
    assert_quiet(pair)


def test_many_calls_take_turns() -> None:
    pair = Pair(server=Http2Settings(max_frame_size=16_384))
    large = pair.start(bytes(60_000), end=False)
    small = [pair.start(b"x") for _ in range(10)]
    data = pair.client.data_to_send()
    # A large message is cut, so that a small one need not wait for all of it.
    last = data.rindex(frame_message(b"x"))
    assert len(data) - last > 10_000
    pair.server.receive_data(data, 0.0)
    assert [end.read() for end in pair.server_owner.calls[1:]] == [[b"x"]] * 10
    assert large.call.pending_bytes == 0
    assert all(end.call.pending_bytes == 0 for end in small)


def test_small_messages_share_a_frame() -> None:
    pair = Pair()
    client, server = pair.open(end=False)
    pair.client.data_to_send()
    client.send(*[b"x"] * 1000, end=False)
    assert len(pair.client.data_to_send()) == 9 + 1000 * (PREFIX_SIZE + 1)
    assert not server.events


def assert_quiet(pair: Pair) -> None:
    """Nothing is left of any call, and the peer has its credit back but for what is too little to be worth a frame."""
    for connection, settings in ((pair.client, pair.client_settings), (pair.server, pair.server_settings)):
        assert connection.failure is None
        assert not connection.calls
        assert connection.unread == 0
        assert not connection._senders
        assert not connection._blocked
        assert connection._owed < settings.connection_window // 4


# Flow control.


def handed_out(end: ClientEnd | ServerEnd, total: int) -> int:
    """How much of what was written the core has given away."""
    return total - end.call.pending_bytes


@pytest.mark.parametrize("by", ["client", "server"])
def test_a_slow_reader_holds_the_sender_to_its_window(by: str) -> None:
    window = 70_000
    settings = Http2Settings(stream_window=window)
    pair = Pair(client=settings, server=settings)
    client, server = pair.open(end=False)
    sender, reader = (client, server) if by == "client" else (server, client)
    message = bytes(10_000 - PREFIX_SIZE)
    if by == "client":
        sender.send(*[message] * 30, end=False)
    else:
        sender.send(*[message] * 30)
    total = 30 * 10_000
    pair.exchange()
    assert handed_out(sender, total) == window
    for number in range(30):
        assert reader.call.read_message() == message
        pair.exchange()
        # What was sent and not read is never more than the window.
        assert handed_out(sender, total) - (number + 1) * 10_000 <= window
    assert handed_out(sender, total) == total
    assert not reader.call.has_message


def test_one_slow_reader_does_not_stop_the_others() -> None:
    pair = Pair(server=Http2Settings(stream_window=70_000, connection_window=200_000))
    slow, slow_server = pair.open(bytes(500_000), bytes(500_000), end=False)
    for _ in range(50):
        _, other = pair.open(bytes(60_000), end=False)
        assert other.read() == [bytes(60_000)]
    assert slow.call.pending_bytes > 0
    assert slow_server.read() == [bytes(500_000)]


def test_many_slow_readers_stop_at_the_limit_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pygrpc.core.connection._UNREAD_LIMIT", 300_000)
    pair = Pair(server=Http2Settings(stream_window=70_000, connection_window=100_000))
    clients = [pair.start(*[bytes(9995)] * 10) for _ in range(50)]
    pair.exchange()
    kept = sum(50 * [100_000]) - sum(end.call.pending_bytes for end in clients)
    assert pair.server.unread <= kept <= 300_000 + 100_000
    # And they go on as soon as somebody reads.
    read = 0
    for _ in range(100):
        read += sum(len(end.read()) for end in pair.server_owner.calls)
        pair.exchange()
    assert read == 500
    assert pair.server.unread == 0


@pytest.mark.parametrize("size", [65_536, 1 << 20, 50 << 20])
def test_a_message_may_be_larger_than_every_window(size: int) -> None:
    pair = Pair(server=Http2Settings(stream_window=65_535, connection_window=65_535))
    client, server = pair.open(bytes(size))
    assert client.call.pending_bytes == 0
    assert [len(message) for message in server.read()] == [size]


def test_incomplete_messages_of_many_calls_do_not_lock_each_other() -> None:
    # 40 messages of 3 MiB arrive in turns: more than the connection's window and its limit of unread bytes together.
    pair = Pair()
    size = 3 << 20
    clients = [pair.start(bytes(size)) for _ in range(40)]
    sizes: list[int] = []
    for _ in range(1000):
        pair.to_server()
        pair.to_client()
        # A handler of a single request reads it as soon as it is complete, and no sooner.
        sizes += [len(message) for end in pair.server_owner.calls for message in end.read()]
    assert [end.call.pending_bytes for end in clients] == [0] * 40
    assert sizes == [size] * 40


def test_a_message_behind_an_unread_one_gets_no_credit() -> None:
    window = 70_000
    pair = Pair(server=Http2Settings(stream_window=window))
    client, server = pair.open(b"first", bytes(1 << 20), end=False)
    assert handed_out(client, 10 + (1 << 20) + PREFIX_SIZE) == window
    assert server.call.read_message() == b"first"
    pair.exchange()
    assert client.call.pending_bytes == 0
    assert server.call.read_message() == bytes(1 << 20)


def test_credit_is_given_in_portions() -> None:
    peer, owner, core = raw_client(Http2Settings(stream_window=100_000, connection_window=400_000, bdp_probe=False))
    peer.send(peer.headers(1, REQUEST))
    (end,) = owner.calls
    updates: list[tuple[int, int]] = []
    for _ in range(20):
        peer.send(peer.data(1, frame_message(bytes(9995))))
        end.read()
        updates += [(frame.stream_id, frame.window_increment) for frame in peer.receive()]
    assert updates == [
        (1, 30_000),
        (1, 30_000),
        (1, 30_000),
        (0, 100_000),
        (1, 30_000),
        (1, 30_000),
        (1, 30_000),
        (0, 100_000),
    ]
    assert core._owed == 0


def test_padding_is_credited() -> None:
    peer, owner, core = raw_client(Http2Settings(stream_window=65_535, connection_window=65_535, bdp_probe=False))
    peer.send(peer.headers(1, REQUEST))
    credited = {0: 0, 1: 0}
    for _ in range(2000):
        peer.send(peer.data(1, b"", padding=255))
        for frame in peer.receive():
            credited[frame.stream_id] += frame.window_increment
    assert core.failure is None
    assert owner.calls[0].read() == []
    assert credited[0] >= 2000 * 256 - 65_535 // 4
    assert credited[1] >= 2000 * 256 - 65_535 // 4


def test_padding_of_messages_is_credited_when_they_are_read() -> None:
    peer, owner, core = raw_client(Http2Settings(stream_window=65_535, connection_window=1 << 20))
    peer.send(peer.headers(1, REQUEST))
    credited = 0
    for _ in range(500):
        peer.send(peer.data(1, frame_message(b"x" * 500), padding=200))
        owner.calls[0].read()
        credited += sum(frame.window_increment for frame in peer.receive() if frame.stream_id == 1)
    assert core.failure is None
    assert credited >= 500 * 706 - 65_535 // 4


@pytest.mark.parametrize("window", [0, 10, 65_535, 200_000])
def test_settings_change_the_window_while_messages_wait(window: int) -> None:
    peer, owner, _ = raw_client(peer_settings={4: 100})
    peer.send(peer.headers(1, REQUEST, True))
    owner.calls[0].send(bytes(1000))
    peer.receive()
    assert owner.calls[0].call.pending_bytes == 1005 - 100
    peer.send(peer.settings({4: window}))
    peer.receive()
    assert owner.calls[0].call.pending_bytes == min(905, max(0, 1005 - window))


def test_a_window_below_zero_sends_nothing() -> None:
    peer, owner, _ = raw_client(peer_settings={4: 500})
    peer.send(peer.headers(1, REQUEST, True))
    owner.calls[0].send(bytes(1000))
    peer.receive()
    peer.send(peer.settings({4: 100}))
    peer.send(peer.window(1, 400))
    peer.receive()
    assert owner.calls[0].call.pending_bytes == 505
    peer.send(peer.window(1, 1))
    peer.receive()
    assert owner.calls[0].call.pending_bytes == 504


def test_the_window_of_the_connection_holds_all_calls() -> None:
    peer, owner, _ = raw_client(peer_settings={4: 1 << 20})
    for stream_id in (1, 3, 5):
        peer.send(peer.headers(stream_id, REQUEST, True))
        owner.calls[-1].send(bytes(60_000))
    peer.receive()
    pending = [end.call.pending_bytes for end in owner.calls]
    assert sum(pending) == 3 * 60_005 - 65_535
    peer.send(peer.window(0, 1 << 20))
    peer.receive()
    assert [end.call.pending_bytes for end in owner.calls] == [0, 0, 0]


def test_frames_keep_to_the_peers_size_and_to_ours() -> None:
    for theirs, largest in ((16_384, 16_384), (50_000, 50_000), (1 << 20, 131_072)):
        peer, owner, _ = raw_client(peer_settings={4: 1 << 20, 5: theirs})
        peer.send(peer.headers(1, REQUEST, True), peer.window(0, 1 << 20))
        owner.calls[0].send(bytes(400_000))
        sizes = [len(frame.data) for frame in peer.receive() if frame.type == 0]
        assert max(sizes) == largest
        assert sum(sizes) == 400_005


# Backlog.


def test_whoever_writes_waits_above_the_backlog() -> None:
    pair = Pair()
    client = pair.start(bytes(SEND_BACKLOG - PREFIX_SIZE), end=False)
    assert not client.call.backlogged
    client.send(b"", end=False)
    assert client.call.backlogged
    assert client.call.pending_bytes == SEND_BACKLOG + PREFIX_SIZE
    pair.exchange()
    assert not client.call.backlogged
    assert client.events == ["started", "writable"]


def test_a_call_that_ends_is_not_backlogged() -> None:
    pair = Pair(server=Http2Settings(stream_window=65_535))
    client, _ = pair.open(bytes(1 << 20), bytes(1 << 20), end=False)
    assert client.call.backlogged
    client.call.cancel()
    assert not client.call.backlogged
    assert client.call.pending_bytes == 0


# The contract.


def test_the_base_leaves_the_ends_their_part() -> None:
    call = Call(MessageLimits(-1, -1))
    for missing in (
        lambda: call.headers_received([], False),
        lambda: call.data_received(b"", 0, False),
        lambda: call.stream_reset(0, True),
        lambda: call.connection_lost(None),  # type: ignore[arg-type]
        lambda: call.writable(),
        lambda: call._fail(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(NotImplementedError):
            missing()


def states() -> Iterator[tuple[ClientEnd, ServerEnd]]:
    pair = Pair()
    client, server = pair.open(b"x")
    yield client, server
    server.finish()
    pair.exchange()
    yield client, server


def test_an_event_out_of_place_is_a_mistake_of_ours() -> None:
    for client, _ in states():
        with pytest.raises(IllegalTransition, match=f"STARTED in state {client.call.state.name}"):
            client.call.started()
    assert client.call.state is ClientState.DONE
    pair = Pair()
    _, server = pair.open(b"x")
    server.finish()
    pair.exchange()
    assert server.call.state is ServerState.CLOSED
    with pytest.raises(IllegalTransition, match="WRITTEN in state CLOSED"):
        server.call._on_local_end()
