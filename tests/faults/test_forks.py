"""Forks with asyncio, forks under load, and servers that are started in the children of forks."""

from __future__ import annotations

import textwrap

from tests.faults.servers import PATIENCE
from tests.sync.programs import finish, python

PROLOGUE = f"""
import asyncio, faulthandler, multiprocessing, os, signal, sys, threading, traceback
from concurrent import futures
import pygrpc
from pygrpc import aio
from tests.faults.program import make_server, own_name
from tests.faults.servers import method

faulthandler.dump_traceback_later({PATIENCE}, exit=True)

def fork(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid
"""


def run(program: str) -> None:
    """Runs a program, which prints that it is done."""
    code, out, err = finish(python(PROLOGUE + textwrap.dedent(program)))
    assert (code, out.strip()) == (0, "done"), err


def test_a_channel_of_asyncio_connects_afresh_in_a_loop_of_the_child() -> None:
    run("""
        async def child(channel):
            for _ in range(3):
                assert await method(channel, "uu")(b"", timeout=20) == str(os.getppid()).encode()
            assert channel.get_state() is pygrpc.ChannelConnectivity.READY
            await channel.close()

        async def main():
            server = make_server("pygrpc-aio")
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel, \\
                    aio.insecure_channel(f"127.0.0.1:{port}") as unused:
                stream = method(channel, "ss")()
                await stream.write(b"before")
                assert await stream.read() == b"before"
                await method(unused, "uu")(b"")
                pid = fork(lambda: asyncio.run(child(channel)))
                assert (await asyncio.to_thread(os.waitpid, pid, 0))[1] == 0
                # The connection of the parent has not suffered.
                await stream.write(b"behind")
                assert await stream.read() == b"behind"
                await stream.done_writing()
                assert await stream.read() is aio.EOF
                assert await method(channel, "uu")(b"") == own_name()
            await server.stop(None)
            print("done")

        asyncio.run(main())
    """)


def test_forks_while_calls_of_asyncio_are_under_way() -> None:
    run("""
        async def child(channel):
            assert int(await method(channel, "uu")(b"", timeout=20)) == os.getppid()

        async def main():
            server = make_server("pygrpc-aio")
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            over = False
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                async def work():
                    while not over:
                        assert await method(channel, "uu")(b"", timeout=20) == own_name()
                tasks = [asyncio.create_task(work()) for _ in range(16)]
                await method(channel, "uu")(b"")
                pids = [fork(lambda: asyncio.run(child(channel))) for _ in range(5)]
                waits = [asyncio.to_thread(os.waitpid, pid, 0) for pid in pids]
                assert [status for _, status in await asyncio.gather(*waits)] == [0] * 5
                over = True
                await asyncio.gather(*tasks)
            await server.stop(None)
            print("done")

        asyncio.run(main())
    """)


def test_workers_of_multiprocessing_are_forked_while_calls_are_under_way() -> None:
    run("""
        import warnings
        # From 3.12 on Python warns of forks with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        server = make_server("pygrpc-sync")
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        channel = pygrpc.insecure_channel(f"127.0.0.1:{port}")
        call = method(channel, "uu")

        def work(number):
            return int(call(b"", timeout=20))

        over = threading.Event()
        def load():
            while not over.is_set():
                assert call(b"", timeout=20) == own_name()
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(work, range(30)) == [os.getpid()] * 30
        over.set()
        for thread in threads:
            thread.join()
        channel.close()
        server.stop(None).wait()
        print("done")
    """)


PREFORK = """
    {make}
    # Without SO_REUSEPORT: the children share one socket.
    port = server.add_insecure_port("127.0.0.1:0")
    read, write = os.pipe()

    def child():
        os.close(write)
        {serve}

    pids = [fork(child) for _ in range(2)]
    os.close(read)
    def ask():
        with pygrpc.insecure_channel(f"127.0.0.1:{{port}}") as channel:
            return int(method(channel, "uu")(b"", timeout=20))
    first = ask()
    # Whoever is quicker gets a connection: the other one does while this one stands still.
    os.kill(first, signal.SIGSTOP)
    assert {{first, ask()}} == set(pids)
    os.kill(first, signal.SIGCONT)
    # The parent has not started it, but has ports to give back.
    {stop}
    os.close(write)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    print("done")
"""


def test_a_server_is_started_in_the_children() -> None:
    serve = "server.start(); os.read(read, 1); server.stop(20).wait()"
    run(PREFORK.format(make='server = make_server("pygrpc-sync")', serve=serve, stop="server.stop(None)"))


def test_a_server_of_asyncio_is_started_in_the_children() -> None:
    make = """
    async def serve():
        await server.start()
        await asyncio.to_thread(os.read, read, 1)
        await server.stop(20)

    server = make_server("pygrpc-aio")
    """
    run(PREFORK.format(make=make.strip(), serve="asyncio.run(serve())", stop="asyncio.run(server.stop(None))"))
