"""The server: ports, finding handlers, limits, stopping, many connections."""

import contextvars
import gc
import logging
import queue
import socket
import threading
import weakref
from concurrent import futures
from typing import Any

import pytest

import pygrpc
from pygrpc import interfaces
from pygrpc.sync.server import Server
from tests.sync.peers import BOUND, ECHO, SERVICE, Gate, handlers, serve, wait


def make_server(*generic: Any, **settings: Any) -> Any:
    return pygrpc.server(futures.ThreadPoolExecutor(4), handlers=generic, **settings)


# Set-up.


def test_a_server_is_one_of_the_interface() -> None:
    server = make_server()
    assert isinstance(server, Server)
    assert isinstance(server, interfaces.Server)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", "[::]:0", "0.0.0.0:0"])
def test_ports(address: str) -> None:
    server = make_server(handlers(pygrpc, ECHO))
    port = server.add_insecure_port(address)
    server.start()
    host = address.rpartition(":")[0].replace("[::]", "localhost").replace("0.0.0.0", "127.0.0.1")
    with pygrpc.insecure_channel(f"{host}:{port}") as channel:
        assert channel.unary_unary(f"/{SERVICE}/uu")(b"a", timeout=BOUND) == b"a"
    server.stop(None)


def test_a_port_that_is_added_to_a_running_server() -> None:
    server = make_server(handlers(pygrpc, ECHO))
    server.start()
    port = server.add_insecure_port(b"127.0.0.1:0")
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary(f"/{SERVICE}/uu")(b"a", wait_for_ready=True, timeout=BOUND) == b"a"
    server.stop(None)


def test_a_port_that_is_taken() -> None:
    options = (("grpc.so_reuseport", 0),)
    first, second = make_server(options=options), make_server(options=options)
    port = first.add_insecure_port("127.0.0.1:0")
    for address in (f"127.0.0.1:{port}", f"localhost:{port}", "does-not-exist.invalid:0", "host:port"):
        with pytest.raises(RuntimeError, match="Failed to bind to address"):
            second.add_insecure_port(address)


def test_a_server_starts_once() -> None:
    server = make_server()
    server.start()
    with pytest.raises(ValueError, match="Cannot start already-started server!"):
        server.start()
    server.stop(None)
    with pytest.raises(ValueError, match="Cannot start already-started server!"):
        server.start()


def test_what_is_no_handler_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"grpc\.GenericRpcHandler"):
        make_server(object())
    with pytest.raises(AttributeError, match=r"grpc\.GenericRpcHandler"):
        make_server().add_generic_rpc_handlers([object()])


# Finding handlers.


def test_registered_handlers_go_first(caplog: pytest.LogCaptureFixture) -> None:
    server = make_server(
        handlers(pygrpc, {"uu": lambda request, _: b"generic", "uu_other": lambda request, _: b"other"})
    )
    registered = pygrpc.unary_unary_rpc_method_handler(lambda request, _: b"registered")
    server.add_registered_method_handlers(SERVICE, {"uu": registered})
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with caplog.at_level(logging.WARNING):
        server.add_registered_method_handlers(SERVICE, {"late": registered})
    assert "Cannot register method handlers once server has started" in caplog.text
    server.add_generic_rpc_handlers([handlers(pygrpc, {"uu_new": lambda request, _: b"new"})])
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:

        def call(name: str) -> Any:
            return channel.unary_unary(f"/{SERVICE}/{name}")(b"")

        assert [call(name) for name in ("uu", "uu_other", "uu_new")] == [b"registered", b"other", b"new"]
        with pytest.raises(pygrpc.RpcError) as caught:
            call("late")
    assert (caught.value.code(), caught.value.details()) == (pygrpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    server.stop(None)


def test_a_generic_handler_that_fails(pair: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def service(self, details: Any) -> Any:
            raise KeyError("broken")

    with serve(pair, extra=[Broken()], **ECHO) as link, pytest.raises(link.client.RpcError) as caught:
        link.method("uu")(b"")
    assert caught.value.code() is link.client.StatusCode.UNKNOWN
    assert caught.value.details() == "Error in service handler!"


def test_a_handler_class_of_its_own(pair: tuple[str, str]) -> None:
    class Method:
        request_streaming = response_streaming = False
        request_deserializer = response_serializer = None

        def unary_unary(self, request: bytes, context: Any) -> bytes:
            return request + b"!"

    class Generic:
        def service(self, details: Any) -> Any:
            return Method() if details.method == "/own/method" else None

    with serve(pair, extra=[Generic()], **ECHO) as link:
        assert link.channel.unary_unary("/own/method")(b"a") == b"a!"


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_interceptors_in_order_and_their_variables() -> None:
    seen: list[Any] = []

    class Interceptor(pygrpc.ServerInterceptor):
        def __init__(self, name: str) -> None:
            self.name = name

        def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append((self.name, details.method, dict(details.invocation_metadata).get("key"), VARIABLE.get()))
            VARIABLE.set(self.name)
            return continuation(details)

    def handler(request: bytes, context: Any) -> bytes:
        return VARIABLE.get().encode()

    settings = {"interceptors": [Interceptor("first"), Interceptor("second")]}
    with serve(server=settings, uu=handler) as link:
        for _ in range(2):
            assert link.method("uu")(b"", metadata=(("key", "value"),)) == b"second"
    method = f"/{SERVICE}/uu"
    assert seen == [("first", method, "value", "unset"), ("second", method, "value", "first")] * 2


def test_an_interceptor_that_refuses() -> None:
    class Interceptor(pygrpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            def refuse(request: bytes, context: Any) -> None:
                context.abort(pygrpc.StatusCode.PERMISSION_DENIED, "no")

            return pygrpc.unary_unary_rpc_method_handler(refuse)

    with serve(server={"interceptors": [Interceptor()]}, **ECHO) as link, pytest.raises(pygrpc.RpcError) as caught:
        link.method("uu")(b"")
    assert caught.value.code() is pygrpc.StatusCode.PERMISSION_DENIED


# Limits and executors.


def test_a_limit_of_calls(pair: tuple[str, str]) -> None:
    gates = [Gate(), Gate()]
    with serve(pair, server={"maximum_concurrent_rpcs": 2}, uu=gates[0], uu_other=gates[1]) as link:
        calls = [link.method("uu").future(b""), link.method("uu", "uu_other").future(b"")]
        for gate in gates:
            wait(gate.entered)
        with pytest.raises(link.client.RpcError) as caught:
            link.method("uu")(b"")
        assert caught.value.code() is link.client.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "Concurrent RPC limit exceeded!"
        for gate in gates:
            gate.leave.set()
        assert [call.result(BOUND) for call in calls] == [b"through"] * 2
        # The places are free when the handlers have ended, which may be a little later than the replies.
        while link.method("uu").future(b"").exception(BOUND) is not None:
            pass


def test_an_executor_of_its_own_for_a_method() -> None:
    def handler(request: bytes, context: Any) -> bytes:
        return threading.current_thread().name.encode()

    with futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        handler.experimental_thread_pool = pool  # type: ignore[attr-defined]
        with serve(uu=handler) as link:
            assert link.method("uu")(b"").startswith(b"mine")


def test_an_executor_that_takes_no_work(caplog: pytest.LogCaptureFixture) -> None:
    pool = futures.ThreadPoolExecutor(1)
    pool.shutdown()
    server = pygrpc.server(pool, handlers=[handlers(pygrpc, ECHO)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/uu")(b"")
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    server.stop(None)


def test_an_executor_that_has_only_submit() -> None:
    class Daemons:
        def submit(self, function: Any, *arguments: Any) -> None:
            threading.Thread(target=function, args=arguments, daemon=True).start()

    server = pygrpc.server(Daemons(), handlers=[handlers(pygrpc, ECHO)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert list(channel.stream_stream(f"/{SERVICE}/ss")(iter([b"a"]))) == [b"a"]
    server.stop(None)


# Stopping.


def test_stopping_without_grace_ends_calls(pair: tuple[str, str]) -> None:
    gate = Gate()
    with serve(pair, uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        event = link.server.stop(None)
        assert isinstance(event, threading.Event)
        wait(event)
        assert future.code() in (link.client.StatusCode.UNAVAILABLE, link.client.StatusCode.CANCELLED)
        wait(gate.ended)
        assert not gate.context.is_active()
        gate.leave.set()


def test_the_grace_ends_what_is_left() -> None:
    gate = Gate()
    with serve(uu=gate) as link:
        future = link.method("uu").future(b"")
        wait(gate.entered)
        long = link.server.stop(3600)
        assert not long.wait(0.05)
        with pytest.raises(pygrpc.RpcError):
            link.method("uu")(b"", timeout=1)
        short = link.server.stop(0.01)
        wait(short)
        wait(long)
        assert future.code() is pygrpc.StatusCode.UNAVAILABLE
        assert link.server.stop(None).is_set()
        gate.leave.set()


def test_waiting_for_termination() -> None:
    server = make_server()
    server.start()
    assert server.wait_for_termination(timeout=0.01) is True
    thread = threading.Thread(target=server.stop, args=(None,))
    thread.start()
    assert server.wait_for_termination(timeout=BOUND) is False
    thread.join(BOUND)


def test_stopping_a_server_that_was_never_started() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")
    wait(server.stop(None))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=BOUND)


def test_stopping_from_a_handler_and_from_a_callback() -> None:
    stopped: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handler(request: bytes, context: Any) -> bytes:
        context.add_callback(lambda: stopped.put(link.server.stop(None)))
        stopped.put(link.server.stop(None))
        return request

    with serve(uu=handler) as link:
        with pytest.raises(pygrpc.RpcError):
            link.method("uu")(b"")
        for _ in range(2):
            wait(stopped.get(timeout=BOUND))


def test_a_server_that_is_collected_stops() -> None:
    gate = Gate()
    server = make_server(handlers(pygrpc, {"uu": gate}))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        future = channel.unary_unary(f"/{SERVICE}/uu").future(b"")
        wait(gate.entered)
        terminated = server._service.terminated
        reference = weakref.ref(server)
        del server
        gc.collect()
        assert reference() is None
        # Calls in flight are not cut off.
        gate.leave.set()
        assert future.result(BOUND) == b"through"
        wait(terminated)


def test_a_server_that_was_never_started_is_collected() -> None:
    server = make_server()
    port = server.add_insecure_port("127.0.0.1:0")
    del server
    gc.collect()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=BOUND)


def test_stopped_servers_leave_no_thread() -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "pygrpc-server"}
    for _ in range(5):
        with serve(**ECHO) as link:
            assert link.method("uu")(b"a") == b"a"
    for thread in set(threading.enumerate()) - before:
        if thread.name == "pygrpc-server":
            thread.join(BOUND)
            assert not thread.is_alive()


# Many connections.


def test_a_thousand_idle_connections_need_no_threads() -> None:
    resource = pytest.importorskip("resource")
    wanted = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + 200
    if hard < needed:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    connections: list[socket.socket] = []
    try:
        with serve(**ECHO) as link:
            assert link.method("uu")(b"a") == b"a"
            before = threading.active_count()
            for _ in range(wanted):
                sock = socket.create_connection(("127.0.0.1", link.port), timeout=BOUND)
                sock.sendall(preface)
                connections.append(sock)
            for sock in connections:
                # Each has been served: the server's SETTINGS came.
                assert sock.recv(9)[3] == 4
            assert link.method("uu")(b"a") == b"a"
            assert threading.active_count() <= before + 8
    finally:
        for sock in connections:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
