"""What only a process of its own can show of waits and the end: Ctrl-C, other signals, exit with calls in flight."""

import signal
import textwrap

import pytest

from tests.sync.peers import BOUND
from tests.sync.programs import SERVER, Server, end, finish, python, run, start

#: Waits of clients that end only if they are interrupted.
WAITS = {
    "blocking": "method('uu')(b'')",
    "stream-unary": "method('su')(requests())",
    "result": "method('uu').future(b'').result()",
    "exception": "method('uu').future(b'').exception(60)",
    "iteration": "next(method('us')(b''))",
    "conversation": "next(method('ss')(requests()))",
    "metadata": "method('us')(b'').initial_metadata()",
    "code": "method('us')(b'').code()",
    "follower": "follow()",
}


def test_control_c_interrupts_every_wait_for_a_response(server: Server) -> None:
    program = """
        def follow():
            threading.Thread(target=lambda: method('us')(b'').code(), daemon=True).start()
            # The other thread reads for both; a call with a name of its own, so that it is not taken for this one.
            while channel.driver._leader is None:
                pass
            method('uu')(b'')
    """
    program = textwrap.dedent(program).replace("method('us')(b'').code()", "method('ss')(requests()).code()")
    for name, wait in WAITS.items():
        program += f"""
try:
    {wait}
except KeyboardInterrupt:
    assert echo(b"a") == b"a"
    os.write(1, {name.encode()!r} + b"\\n")
"""
    process = start(server, program + "channel.close()\n")
    try:
        for name in WAITS:
            server.wait_for_call_of(process)
            if name == "follower":
                server.wait_for_call_of(process)
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert line == name, process.communicate(timeout=BOUND)
        assert finish(process) == (0, "", "")
    finally:
        end(process)


def test_control_c_interrupts_every_other_wait(server: Server) -> None:
    program = """
        from concurrent import futures
        lonely = pygrpc.insecure_channel("127.0.0.1:1")
        pool = futures.ThreadPoolExecutor(2)
        entered, leave = threading.Event(), threading.Event()
        def handle(request, context):
            entered.set()
            leave.wait()
            return b""
        handler = pygrpc.unary_unary_rpc_method_handler(handle)
        def serve():
            server = pygrpc.server(pool, handlers=[pygrpc.method_handlers_generic_handler("a", {"b": handler})])
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            return server, port
        def stop():
            other, port = serve()
            with pygrpc.insecure_channel(f"127.0.0.1:{port}") as its:
                its.unary_unary("/a/b").future(b"")
                call = its.unary_unary("/a/b").future(b"")
                entered.wait()
                try:
                    other.stop(60).wait()
                finally:
                    leave.set()
        waits = {
            "connection": lambda: lonely.unary_unary("/a/b")(b"", wait_for_ready=True),
            "ready": lambda: pygrpc.channel_ready_future(lonely).result(),
            "termination": lambda: serve()[0].wait_for_termination(),
            "running": lambda: running[0].wait_for_termination(60),
            "stop": stop,
        }
        running = serve()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for name, wait in waits.items():
            # Behind whatever comes before the wait; where it is too early it interrupts that, which must do no harm.
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            try:
                wait()
            except KeyboardInterrupt:
                print(name)
        lonely.close()
        running[0].stop(None)
        assert echo(b"a") == b"a"
    """
    code, out, err = run(server, program)
    assert (code, out.split(), err) == (0, ["connection", "ready", "termination", "running", "stop"], "")


def test_control_c_ends_a_server_that_waits_for_its_end() -> None:
    process = python(SERVER)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code != 0
    assert "KeyboardInterrupt" in err


def test_signals_are_handled_while_a_call_blocks(server: Server) -> None:
    program = """
        handled = []
        future = method("uu").future(b"")
        def handle(signum, frame):
            # The call that waits goes on.
            handled.append(signum)
            if len(handled) == 1:
                assert future.running()
                os.write(1, b"first\\n")
            else:
                os.write(1, b"%d\\n" % future.cancel())
                sys.exit(0)
        signal.signal(signal.SIGINT, handle)
        future.result()
    """
    process = start(server, program)
    try:
        assert process.stdout is not None
        server.wait_for_call_of(process)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "first\n", process.communicate(timeout=BOUND)
        process.send_signal(signal.SIGINT)
        assert finish(process) == (0, "1\n", "")
    finally:
        end(process)


EXITS = {
    "unused": "pass",
    "idle": "echo(b'a')",
    "calls": """
        futures = [method('uu').future(b'') for _ in range(3)]
        for each in futures:
            each.add_callback(print)
            each.add_done_callback(print)
        streams = [method('us')(b''), method('ss')(requests()), method('ss')(iter([b'']))]
        for _ in range(3):
            threading.Thread(target=method('uu'), args=(b'',), daemon=True).start()
        channel.subscribe(lambda state: None, try_to_connect=True)
        lonely = pygrpc.insecure_channel('127.0.0.1:1')
        lonely.subscribe(lambda state: None, try_to_connect=True)
        waiting = lonely.unary_unary('/a/b').future(b'', wait_for_ready=True)
    """,
    "late": """
        import colorsys

        # A module that goes later than pygrpc keeps what is to be closed, in a cycle.
        class Kept:
            pass
        kept = Kept()
        kept.channel, kept.itself = channel, kept
        kept.call = method("us")(b"")
        colorsys.kept = kept
        echo(b"a")
    """,
    "servers": """
        from concurrent import futures
        from pygrpc.testing import in_process_channel

        class Daemons:
            def submit(self, *work):
                threading.Thread(target=work[0], args=work[1:], daemon=True).start()

        entered = threading.Semaphore(0)
        def handle(requests, context):
            entered.release()
            yield b""
            yield from requests

        def serve(pool):
            handler = pygrpc.stream_stream_rpc_method_handler(handle)
            server = pygrpc.server(pool, handlers=[pygrpc.method_handlers_generic_handler("a", {"b": handler})])
            return server, server.add_insecure_port("127.0.0.1:0")

        unstarted = serve(futures.ThreadPoolExecutor(1))
        idle = serve(futures.ThreadPoolExecutor(1))
        idle[0].start()
        busy, port = serve(Daemons())
        busy.start()
        calls = []
        for its in (pygrpc.insecure_channel(f"127.0.0.1:{port}"), in_process_channel(busy)):
            calls.append(its.stream_stream("/a/b")(requests()))
            entered.acquire()
            assert next(calls[-1]) == b""
    """,
}


@pytest.mark.parametrize("program", EXITS.values(), ids=EXITS)
def test_exit_with_work_in_flight_is_quick_and_quiet(server: Server, program: str) -> None:
    assert run(server, program) == (0, "", "")
