"""Two cores back to back, driven at random: whatever users and the network do, calls end once and nothing is lost.

Bytes lie in two pipes between the cores, and are delivered in pieces of any size, so that everything can cross
everything. Each rule is something that a user, a shell or the network does. Any exception fails the test: among them
IllegalTransition, LocalProtocolError, and what h2 raises.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pygrpc.core.call import MessageLimits
from pygrpc.core.client_call import ClientState
from pygrpc.core.connection import Connection
from pygrpc.core.http2 import Http2Settings
from pygrpc.core.http2.h2_engine import H2Engine
from pygrpc.core.server_call import ServerState
from pygrpc.core.status import Status
from pygrpc.status import StatusCode
from tests.core.pair import ClientEnd, Pair, ServerEnd
from tests.properties.test_any_bytes import check_connection

SIZES = st.sampled_from([0, 1, 10, 995, 3000, 20_000, 100_000])
PICK = st.integers(0, 1000)
CODES = st.sampled_from([StatusCode.OK, StatusCode.OK, StatusCode.ABORTED, StatusCode.INTERNAL])
#: Lets a rule act only now and then: what ends everything must not come so early that little happens before.
RARELY = st.integers(0, 19).map(lambda number: number == 7)
GONE = Status(StatusCode.UNAVAILABLE, "the server is shutting down")
STYLES = st.sampled_from(["manual", "manual", "echo", "refuse", "unary"])
#: The smallest windows that may be announced without the peer stumbling over them before it has seen our SETTINGS.
WINDOWS = st.sampled_from([65_535, 70_000, 200_000])
LARGEST_MESSAGE = 50_000


class PairMachine(RuleBasedStateMachine):
    """What happens on one connection; ``engines`` are those of the client and the server."""

    engines = ("h2", "h2")

    @initialize(stream=WINDOWS, connection=WINDOWS, streams=st.none() | st.integers(0, 3), chunk=st.integers(1, 5000))
    def connect(self, stream: int, connection: int, streams: int | None, chunk: int) -> None:
        own = Http2Settings(stream_window=stream, connection_window=connection, max_concurrent_streams=streams)
        self.pair = Pair(
            client=own, server=own, limits=MessageLimits(LARGEST_MESSAGE, -1), connect=False, engines=self.engines
        )
        self.pair.server_owner.accept = self.accept
        self.client, self.server = self.pair.client, self.pair.server
        self.pipes: dict[Connection, bytearray] = {self.client: bytearray(), self.server: bytearray()}
        self.calls: list[ClientEnd] = []
        self.styles: list[str] = ["manual"]
        self.served: dict[ServerEnd, str] = {}
        self.over = False

    # What the client's user does.

    @precondition(lambda self: not self.client.draining and len(self.calls) < 12)
    @rule(style=STYLES, streaming=st.booleans(), deadline=st.sampled_from([None, 5.0, 50.0]))
    def start(self, style: str, streaming: bool, deadline: float | None) -> None:
        self.styles.append(style)
        limits = MessageLimits(LARGEST_MESSAGE, 90_000)
        end = ClientEnd(
            response_streaming=streaming, deadline=deadline, limits=limits, path=f"/{len(self.calls)}/{style}"
        )
        if not streaming:
            # As the shell does: the only response is read as soon as it is here.
            end.on_message = lambda: end.call.read_message()  # type: ignore[method-assign, return-value]
        self.calls.append(end)
        self.client.start(end.call)
        if style == "unary":
            end.send(b"request")

    def writable(self, pick: int) -> ClientEnd | None:
        """One of the calls whose user has not half-closed; nobody writes behind that."""
        open_calls = [end for end in self.calls if end.call._ending is False]
        return open_calls[pick % len(open_calls)] if open_calls else None

    @rule(pick=PICK, sizes=st.lists(SIZES, min_size=1, max_size=4))
    def client_sends(self, pick: int, sizes: list[int]) -> None:
        end = self.writable(pick)
        for size in sizes:
            if end is not None:
                accepted = end.call.send_message(bytes(size))
                assert accepted or end.call.status is not None

    @rule(pick=PICK)
    def half_close(self, pick: int) -> None:
        end = self.writable(pick)
        if end is not None:
            end.call.half_close()

    @precondition(lambda self: self.calls)
    @rule(pick=PICK, count=st.integers(1, 3))
    def client_reads(self, pick: int, count: int) -> None:
        for _ in range(count):
            self.calls[pick % len(self.calls)].call.read_message()

    @precondition(lambda self: self.calls)
    @rule(pick=PICK)
    def client_cancels(self, pick: int) -> None:
        end = self.calls[pick % len(self.calls)]
        had_ended = end.call.ended
        assert end.call.cancel() is not had_ended
        assert end.call.ended

    @rule(now=RARELY)
    def client_leaves(self, now: bool) -> None:
        if now:
            self.client.drain()
            assert self.client.draining

    # What the server's handlers do.

    def accept(self, end: ServerEnd) -> None:
        style = end.call.head.path.rpartition("/")[2]
        self.served[end] = style
        end.call.request_streaming = style != "unary"
        if style == "refuse":
            end.finish(StatusCode.UNIMPLEMENTED)
        elif style in ("echo", "unary"):
            # As with eager tasks: the handler runs while the connection still handles the bytes.
            end.on_requests = lambda: self.echo(end)  # type: ignore[method-assign]
            if style == "echo":
                self.echo(end)

    @staticmethod
    def echo(end: ServerEnd) -> None:
        while end.call.has_message:
            message = end.call.read_message()
            if message is not None:
                end.call.send_message(message)
        if end.call.requests_ended and not end.call.ended:
            end.finish()

    def handler(self, pick: int) -> ServerEnd | None:
        manual = [end for end, style in self.served.items() if style == "manual"]
        return manual[pick % len(manual)] if manual else None

    @rule(pick=PICK, sizes=st.lists(SIZES, min_size=1, max_size=4))
    def server_sends(self, pick: int, sizes: list[int]) -> None:
        end = self.handler(pick)
        for size in sizes:
            if end is not None:
                accepted = end.call.send_message(bytes(size))
                assert accepted is not end.call.ended

    @rule(pick=PICK, count=st.integers(1, 3))
    def server_reads(self, pick: int, count: int) -> None:
        end = self.handler(pick)
        for _ in range(count):
            if end is not None:
                end.call.read_message()

    @rule(pick=PICK, code=CODES)
    def server_finishes(self, pick: int, code: StatusCode) -> None:
        end = self.handler(pick)
        if end is not None:
            had_ended = end.call.ended
            assert end.finish(code) is not had_ended

    @rule(pick=PICK)
    def server_expires(self, pick: int) -> None:
        end = self.handler(pick)
        if end is not None:
            end.call.expire()
            assert end.call.ended

    @rule(now=RARELY)
    def server_says_goodbye(self, now: bool) -> None:
        if now:
            self.server.shutdown(self.pair.now)

    @rule(now=RARELY)
    def server_gives_up(self, now: bool) -> None:
        if now:
            self.server.cancel_calls(GONE)
            assert all(end.call.ended for end in self.served)

    # What the shells and the network do.

    @rule(rounds=st.integers(1, 5))
    def talk(self, rounds: int) -> None:
        for _ in range(rounds):
            self.deliver(True, 1 << 20)
            self.deliver(False, 1 << 20)

    @rule(to_server=st.booleans(), size=st.sampled_from([1, 9, 100, 5000, 1 << 20]))
    def deliver(self, to_server: bool, size: int) -> None:
        source, target = (self.client, self.server) if to_server else (self.server, self.client)
        pipe = self.pipes[source]
        pipe += source.data_to_send()
        data = bytes(pipe[:size])
        del pipe[:size]
        if data:
            target.receive_data(data, self.pair.now)

    @rule(seconds=st.sampled_from([0.1, 0.1, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.pair.now += seconds
        for end in self.calls:
            if end.call.deadline is not None and end.call.deadline <= self.pair.now:
                end.call.cancel(Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        for connection in (self.client, self.server):
            connection.handle_timeout(self.pair.now)

    @rule(client=st.booleans(), paused=st.booleans())
    def pause(self, client: bool, paused: bool) -> None:
        (self.client if client else self.server).sending_paused = paused

    @rule(now=RARELY)
    def the_wire_is_cut(self, now: bool) -> None:
        if now:
            self.pair.lose()
            self.over = True

    # What holds at any time.

    @invariant()
    def connections_are_consistent(self) -> None:
        for connection in (self.client, self.server):
            check_connection(connection)
        if not self.over:
            assert self.client.failure is None
            assert self.server.failure is None

    @invariant()
    def listeners_are_told_once(self) -> None:
        for end in self.calls:
            assert end.events.count("done") == (end.call.state is ClientState.DONE)
            assert end.events.count("started") <= 1
            assert end.events.count("initial_metadata") == (end.call.initial_metadata is not None)
        for server in self.served:
            assert server.events.count("closed") == (server.call.state is ServerState.CLOSED)
            assert server.events.count("cancelled") <= 1

    # How it ends.

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        for connection in (self.client, self.server):
            connection.sending_paused = False
        self.settle()
        for end in self.calls:
            if end.call.ended:
                assert end.code is not None
                assert end.events[-1] == "done"
            else:
                # Handed back by a connection that takes no more calls, or waiting for a server that allows none.
                waiting = self.client.all_calls() if self.pair.server_settings.max_concurrent_streams == 0 else []
                assert [*self.pair.client_owner.unsent, *waiting].count(end.call) == 1
                assert end.call.state is ClientState.IDLE
        for server in self.served:
            assert server.call.state is ServerState.CLOSED
        for connection in (self.client, self.server):
            assert not connection.calls
            assert connection.unread == 0
        if not self.over:
            self.check_windows()

    def settle(self) -> None:
        """Lets everybody do what is left to do, until nobody has anything to say."""
        for _ in range(10_000):
            before = self.progress()
            for end in self.calls:
                end.call.half_close()
                end.read()
            for server, style in self.served.items():
                server.read()
                if style == "manual" and server.call.requests_ended:
                    server.finish()
            moved = 0
            for source, target in ((self.client, self.server), (self.server, self.client)):
                pipe = self.pipes[source]
                while data := source.data_to_send():
                    pipe += data
                moved += len(pipe)
                target.receive_data(bytes(pipe), self.pair.now)
                pipe.clear()
            if not moved and self.progress() == before:
                return
        raise AssertionError("they still talk")

    def progress(self) -> list[object]:
        """What changes as long as there is anything to do."""
        ends: list[ClientEnd | ServerEnd] = [*self.calls, *self.served]
        return [(end.call.state, end.call.pending_bytes, len(end.events)) for end in ends]

    def check_windows(self) -> None:
        """No credit has leaked: what the receiver thinks that it allows is what the sender thinks that it may send."""
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            allowed, owed_by_engine = inbound_window(receiver)
            assert outbound_window(sender) == allowed
            assert allowed + receiver._owed + owed_by_engine == self.pair.server_settings.connection_window


def outbound_window(connection: Connection) -> int:
    engine = connection.engine
    if isinstance(engine, H2Engine):
        return engine._h2.outbound_flow_control_window
    window: int = engine._send_window  # type: ignore[attr-defined]
    return window


def inbound_window(connection: Connection) -> tuple[int, int]:
    """What the peer may send on the connection, and what the engine will credit by itself later."""
    engine = connection.engine
    if isinstance(engine, H2Engine):
        manager = engine._h2._inbound_flow_control_window_manager
        return manager.current_window_size, manager._bytes_processed
    return engine._receive_window, engine._ignored  # type: ignore[attr-defined]


machine_settings = settings(
    max_examples=100, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("server", ["h2", "frame"])
@pytest.mark.parametrize("client", ["h2", "frame"])
def test_calls_end_once_and_nothing_is_lost(client: str, server: str) -> None:
    machine = type("PairMachineOfEngines", (PairMachine,), {"engines": (client, server)})
    machine.TestCase.settings = machine_settings
    machine.TestCase("runTest").runTest()
