"""Forks: the child connects afresh, and the parent goes on."""

from pygrpc.sync import fork  # noqa: F401 - what is tested in other processes
from tests.sync.programs import Server, finish, python, run


def test_the_child_of_a_fork_connects_afresh(server: Server) -> None:
    program = """
        assert echo(b"a") == b"a"
        # It must not be over when the process forks: what has arrived by then stays with the child too.
        last = threading.Event()
        def one():
            yield b"a"
            last.wait()
        stream = method("ss_echo")(one())
        pending = method("uu").future(b"")
        states = []
        channel.subscribe(states.append)
        pid = os.fork()
        if pid == 0:
            try:
                assert echo(b"child") == b"child"
                assert echo.future(b"child").result(10) == b"child"
                assert list(method("ss_echo")(iter([b"child"] * 3))) == [b"child"] * 3
                for call in (pending, stream):
                    assert call.code() is pygrpc.StatusCode.CANCELLED, call
                    assert call.details() == "Call cancelled in fork child"
                channel.close()
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        # The parent's connection has not suffered.
        last.set()
        assert list(stream) == [b"a"]
        assert echo(b"a") == b"a"
        pending.cancel()
        channel.close()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_a_fork_while_other_threads_are_in_calls(server: Server) -> None:
    program = """
        stop = threading.Event()
        def work():
            while not stop.is_set():
                assert echo(b"a") == b"a"
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if echo(b"child", timeout=15) == b"child" else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_a_server_goes_on_when_a_handler_forks() -> None:
    program = """
import os
from concurrent import futures
import pygrpc

def handler(request, context):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return request

handlers = pygrpc.method_handlers_generic_handler("a", {"b": pygrpc.unary_unary_rpc_method_handler(handler)})
server = pygrpc.server(futures.ThreadPoolExecutor(2), handlers=[handlers])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with pygrpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    for _ in range(3):
        assert channel.unary_unary("/a/b")(b"a", timeout=15) == b"a"
server.stop(None)
print("done")
"""
    code, out, err = finish(python(program))
    assert (code, out.strip()) == (0, "done"), err


def test_the_child_of_a_fork_drops_the_server() -> None:
    program = """
import os
from concurrent import futures
import pygrpc

server = pygrpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
read, write = os.pipe()
read_ready, write_ready = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(write)
    assert server.stop(None).is_set()
    assert server.wait_for_termination(10) is False
    # The parent closes its server; the port must be free then, although this process lives.
    os.write(write_ready, b"x")
    os.read(read, 1)
    os._exit(0)
os.read(read_ready, 1)
server.stop(None)
again = pygrpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
assert again.add_insecure_port(f"127.0.0.1:{port}") == port
os.write(write, b"x")
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    code, out, err = finish(python(program))
    assert (code, out.strip()) == (0, "done"), err


def test_who_is_told_of_forks() -> None:
    program = """
import logging, os, threading
import pygrpc
from pygrpc.sync import fork

logging.basicConfig()

class Thing:
    def __init__(self):
        self.fork_lock = threading.RLock()
        self.told = False

    def after_fork(self):
        self.told = True

class Broken(Thing):
    def after_fork(self):
        raise KeyError("broken")

things = [Thing(), Broken(), Thing()]
for thing in things:
    fork.register(thing)
# Nobody else is at work in a thing while the process forks.
working, forked = threading.Event(), threading.Event()
def work():
    with things[0].fork_lock:
        working.set()
        things[0].half_done = True
        os.write(1, b"working\\n")
        things[0].half_done = False
worker = threading.Thread(target=work)
worker.start()
working.wait()
pid = os.fork()
if pid == 0:
    ok = things[0].told and things[2].told and not things[0].half_done
    os._exit(0 if ok else 1)
worker.join()
assert os.waitpid(pid, 0)[1] == 0
assert not things[0].told
for thing in things:
    assert thing.fork_lock.acquire(blocking=False)
# The child of a child has nothing to do with it either.
pid = os.fork()
if pid == 0:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    code, out, err = finish(python(program))
    assert (code, out.split()) == (0, ["working", "done"]), err
    assert "could not be reset in the child of a fork" in err


def test_workers_of_multiprocessing(server: Server) -> None:
    program = """
        import multiprocessing

        def work(request):
            return echo(request, timeout=15)

        assert echo(b"a") == b"a"
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(work, [b"b", b"c", b"d"]) == [b"b", b"c", b"d"]
            assert echo(b"a") == b"a"
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_servers_of_workers_that_share_a_port() -> None:
    program = """
import os, socket
from concurrent import futures
import pygrpc

# The parent keeps the port, and does not listen; it has used the library before it forks.
reserved = socket.socket()
reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
reserved.bind(("127.0.0.1", 0))
target = f"127.0.0.1:{reserved.getsockname()[1]}"
read, write = os.pipe()
stop_read, stop_write = os.pipe()
workers = []
with pygrpc.insecure_channel(target) as early:
    ready = pygrpc.channel_ready_future(early)
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                handler = pygrpc.unary_unary_rpc_method_handler(lambda request, context: str(os.getpid()).encode())
                handlers = pygrpc.method_handlers_generic_handler("a", {"b": handler})
                server = pygrpc.server(futures.ThreadPoolExecutor(2), handlers=[handlers])
                server.add_insecure_port(target)
                server.start()
                os.write(write, b"x")
                os.close(stop_write)
                os.read(stop_read, 1)
                server.stop(5).wait()
                os._exit(0)
            finally:
                os._exit(1)
        workers.append(pid)
        os.read(read, 1)
    answered = set()
    for _ in range(200):
        with pygrpc.insecure_channel(target) as channel:
            answered.add(int(channel.unary_unary("/a/b")(b"", timeout=15)))
        if len(answered) == 2:
            break
    assert answered == set(workers)
    ready.cancel()
os.close(stop_write)
assert [os.waitpid(pid, 0)[1] for pid in workers] == [0, 0]
print("done")
"""
    code, out, err = finish(python(program))
    assert (code, out.strip()) == (0, "done"), err


def test_the_child_of_a_fork_has_a_resolver_of_its_own(server: Server) -> None:
    program = """
        from pygrpc import resolvers
        made = []
        class Mine(resolvers.Resolver):
            def __init__(self, target, listener):
                made.append(os.getpid())
                listener.update(["127.0.0.1:" + sys.argv[1]])
        resolvers.register("mine", Mine)
        resolved = pygrpc.insecure_channel("mine:a")
        call = resolved.unary_unary("/sync.Peer/uu_echo")
        assert call(b"a") == b"a"
        pid = os.fork()
        if pid == 0:
            try:
                assert call(b"child") == b"child"
                assert made == [os.getppid(), os.getpid()]
                os._exit(0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert status == 0
        assert call(b"a") == b"a"
        assert made == [os.getpid()]
        resolved.close()
        channel.close()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err


def test_a_look_up_that_hangs_does_not_keep_a_program_from_its_end(server: Server) -> None:
    program = """
        import pygrpc.aio, asyncio, socket
        asked = threading.Semaphore(0)
        def getaddrinfo(*arguments, **options):
            asked.release()
            threading.Event().wait()
        socket.getaddrinfo = getaddrinfo
        pending = pygrpc.insecure_channel("name:1").unary_unary("/a/b").future(b"")
        async def main():
            async with pygrpc.aio.insecure_channel("name:1") as other:
                try:
                    await other.unary_unary("/a/b")(b"", timeout=0.1)
                except pygrpc.RpcError as error:
                    assert error.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED
        asyncio.run(main())
        for _ in range(2):
            assert asked.acquire(timeout=10)
        channel.close()
        print("done")
    """
    code, out, err = run(server, program)
    assert (code, out.strip()) == (0, "done"), err
