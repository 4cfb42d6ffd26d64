"""Servers in several processes on one port: ``run_workers``.

The supervisor keeps the port without listening on it, and each worker listens by SO_REUSEPORT: the kernel spreads the
connections. A pipe leads to each worker. The worker says on it that it serves, or why it can't; the end of the pipe
tells the worker to stop, so that workers stop too when the supervisor is killed.

A worker: STARTING --serves--> SERVING --ends--> (a delay) --> STARTING. One that never comes to serve ends it all if
that is when the workers are started first; later it counts as one that has died.
"""

import asyncio
import contextlib
import inspect
import logging
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

from pygrpc._sockets import Binding, reserve
from pygrpc.core.backoff import Backoff, BackoffPolicy
from pygrpc.core.targets import parse_listen_address

_LOGGER = logging.getLogger("pygrpc")

#: The delays before a worker that has died is started again.
_RESTARTS = BackoffPolicy(initial=0.1, maximum=30.0, multiplier=2.0)
#: Seconds after which a worker that dies counts as one that had worked, so that the delays begin anew.
_STABLE = 60.0
#: Seconds that a worker has to end behind its grace.
_EXTRA = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_workers(
    serve: Callable[[str], Any],
    address: str,
    workers: int | None = None,
    *,
    grace: float = 30.0,
    start_method: str = "spawn",
    ready: Callable[[str], Any] | None = None,
) -> None:
    """Runs servers in several processes on one port, until SIGTERM or SIGINT.

    A worker that dies is started again, behind a delay that grows from 0.1 to 30 seconds. At the end each worker stops
    gracefully: calls in flight may finish. A second signal ends all at once. The main thread has to call this.

    Args:
        serve: Makes the server of one process and adds ``address`` to it; must not start it. A coroutine function for
            servers of ``pygrpc.aio``. With ``spawn`` it must be a function that can be pickled, in a module that does
            nothing else when it is imported, as is custom with multiprocessing (``if __name__ == "__main__":``).
        address: Where to listen, for example ``[::]:50051``. Port 0 is a free port, the same for all workers;
            ``serve`` is told its number.
        workers: The number of processes; None for one for each processor.
        grace: Seconds that calls in flight have at the end.
        start_method: ``spawn``, ``fork`` or ``forkserver``, as in multiprocessing.
        ready: Called with the address, with the number of the port, when all workers have come to serve first.

    Raises:
        SystemExit: A worker can't start; the text, which Python prints, says why. That is the error of ``serve``, or of
            the start of its server; where this is SystemExit with a text, just the text.
        RuntimeError: The address can't be bound, or this is not the main thread.
        ValueError: A number is out of range, or the start method doesn't exist.
        TypeError: ``serve`` can't be pickled, but the start method wants it.
    """
    count = workers if workers is not None else os.cpu_count() or 1
    if count < 1:
        raise ValueError(f"workers must be 1 or more, not {count}")
    if grace < 0:
        raise ValueError(f"grace must be 0 seconds or more, not {grace}")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run_workers handles signals, so the main thread has to call it")
    context: Any = multiprocessing.get_context(start_method)
    binding = reserve(address)
    try:
        bound = str(parse_listen_address(address)._replace(port=binding.port))
        _LOGGER.info("%d workers on %s", count, bound)
        _Supervisor(context, serve, bound, count, grace, binding, ready).run()
    finally:
        binding.close()


class _Worker:
    """One of the processes, and those that take its place."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Any = None
        self.pipe: Any = None
        self.serves = False
        self.started_at = 0.0
        #: When it is to be started again, if it isn't there.
        self.start_at: float | None = 0.0
        self.backoff = Backoff(_RESTARTS, random.random)

    def __str__(self) -> str:
        return f"worker {self.number}" + (f" (process {self.process.pid})" if self.process is not None else "")


class _Supervisor:
    """The processes, and when each is started and stopped."""

    def __init__(
        self,
        context: Any,
        serve: Callable[[str], Any],
        address: str,
        count: int,
        grace: float,
        binding: Binding,
        ready: Callable[[str], Any] | None,
    ) -> None:
        self._context = context
        self._serve = serve
        self._address = address
        self._grace = grace
        self._binding = binding
        self._ready = ready
        self._workers = [_Worker(number + 1) for number in range(count)]
        #: Whether all have served once.
        self._begun = False
        self._failure = ""
        #: When those are killed that have not ended; None while nothing is to stop.
        self._kill_at: float | None = None
        self._pid = os.getpid()
        self._wake_read, self._wake_write = connection.Pipe(duplex=False)

    def run(self) -> None:
        """Runs until all is over."""
        with self._signals():
            try:
                while any(each.process is not None for each in self._workers) or self._kill_at is None:
                    self._start_due()
                    self._wait()
            finally:
                for worker in self._workers:
                    if worker.process is not None:
                        worker.process.kill()
                        worker.process.join()
                self._wake_read.close()
                self._wake_write.close()
        if self._failure:
            raise SystemExit(self._failure)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        # A child that was just forked has this handler too, until it has set its own; the pipe tells it to stop.
        if os.getpid() == self._pid:
            os.write(self._wake_write.fileno(), b"x")

    # Starting.

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if self._kill_at is None and worker.start_at is not None and worker.start_at <= now:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = self._context.Pipe()
        inherited: list[Any] = []
        if self._context.get_start_method() == "fork":
            # What a forked process inherits would keep the pipes and the port open.
            pipes = [each.pipe for each in self._workers if each.pipe is not None]
            inherited = [self._wake_read, self._wake_write, ours, *pipes, *self._binding.sockets]
        arguments = (self._serve, self._address, self._grace, theirs, inherited)
        process = self._context.Process(target=_work, args=arguments, name=f"pygrpc-worker-{worker.number}")
        try:
            process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            ours.close()
            raise TypeError(f"serve must be a function that can be pickled, at the top of a module: {error}") from error
        finally:
            theirs.close()
        worker.process, worker.pipe, worker.serves = process, ours, False
        worker.started_at, worker.start_at = time.monotonic(), None

    # Waiting.

    def _wait(self) -> None:
        things: list[Any] = [self._wake_read]
        for worker in self._workers:
            things += [worker.process.sentinel] if worker.process is not None else []
            things += [worker.pipe] if worker.pipe is not None else []
        times = [each.start_at for each in self._workers if each.start_at is not None]
        end = self._kill_at if self._kill_at is not None else min(times, default=None)
        ready = connection.wait(things, None if end is None else max(0.0, end - time.monotonic()))
        if self._wake_read in ready:
            os.read(self._wake_read.fileno(), 4096)
            self._stop(now=self._kill_at is not None)
        for worker in self._workers:
            if worker.pipe in ready:
                self._heard(worker)
            if worker.process is not None and worker.process.sentinel in ready:
                self._ended(worker)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill()

    def _heard(self, worker: _Worker) -> None:
        try:
            problem = worker.pipe.recv()
        except (EOFError, OSError):
            self._hang_up(worker)
            return
        if problem:
            self._failed(worker, f"{worker} {'failed' if worker.serves else 'could not start'}: {problem}")
        else:
            worker.serves = True
            if not self._begun and all(each.serves for each in self._workers):
                self._begun = True
                _LOGGER.info("all workers serve")
                if self._ready is not None:
                    self._ready(self._address)

    def _ended(self, worker: _Worker) -> None:
        if worker.pipe is not None and worker.pipe.poll():
            self._heard(worker)
        worker.process.join()
        self._hang_up(worker)
        text = f"{worker} ended with exit code {worker.process.exitcode}"
        served = worker.serves
        worker.process, worker.serves = None, False
        if self._kill_at is not None:
            return
        if not served:
            self._failed(worker, f"{text} before it served")
        if self._kill_at is None:
            now = time.monotonic()
            if served and now - worker.started_at >= _STABLE:
                worker.backoff.reset()
            delay = worker.backoff.next_delay()
            _LOGGER.warning("%s; it is started again in %.1f seconds", text, delay)
            worker.start_at = now + delay

    def _failed(self, worker: _Worker, text: str) -> None:
        """A worker can't start, which ends all, unless there were workers that could: then it is tried again."""
        if self._begun or worker.serves:
            _LOGGER.error("%s", text)
        elif self._kill_at is None:
            self._failure = f"run_workers: {text}"
            self._stop()

    @staticmethod
    def _hang_up(worker: _Worker) -> None:
        if worker.pipe is not None:
            worker.pipe.close()
            worker.pipe = None

    # Stopping.

    def _stop(self, now: bool = False) -> None:
        """Lets all workers stop gracefully, or ends them at once."""
        self._kill_at = time.monotonic() + (0.0 if now else self._grace + _EXTRA)
        for worker in self._workers:
            worker.start_at = None
            self._hang_up(worker)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                _LOGGER.warning("%s did not stop in time and is killed", worker)
                worker.process.kill()
                worker.process.join()
                worker.process = None


# What goes on in a worker.


def _work(serve: Callable[[str], Any], address: str, grace: float, pipe: Any, inherited: list[Any]) -> None:
    """The life of a worker process."""
    # Ctrl-C reaches all processes of a terminal, and the supervisor tells its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(wake_write, b"x"))
    for each in inherited:
        each.close()
    try:
        server = serve(address)
        if inspect.iscoroutine(server):
            asyncio.run(_serve_aio(server, grace, pipe, wake_read))
        else:
            _serve_sync(server, grace, pipe, wake_read)
    except SystemExit as error:
        if not isinstance(error.code, str):
            raise
        _say(pipe, error.code)
        raise SystemExit(1) from None
    except Exception as error:
        _LOGGER.exception("a worker failed")
        _say(pipe, f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _check(server: Any, asynchronous: bool) -> None:
    start = getattr(server, "start", None)
    if not callable(start) or not callable(getattr(server, "stop", None)):
        raise TypeError(f"serve must return a server, not {server!r}")
    if inspect.iscoroutinefunction(start) is not asynchronous:
        wanted = "pygrpc.aio.server()" if asynchronous else "pygrpc.server(); one of pygrpc.aio needs an async function"
        raise TypeError(f"serve must return a server made by {wanted}")


def _serve_sync(server: Any, grace: float, pipe: Any, wake: int) -> None:
    _check(server, asynchronous=False)
    server.start()
    _say(pipe)
    connection.wait([pipe, wake])
    server.stop(grace).wait()


async def _serve_aio(making: Any, grace: float, pipe: Any, wake: int) -> None:
    server = await making
    _check(server, asynchronous=True)
    await server.start()
    _say(pipe)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for descriptor in (pipe.fileno(), wake):
        loop.add_reader(descriptor, stop.set)
    await stop.wait()
    for descriptor in (pipe.fileno(), wake):
        loop.remove_reader(descriptor)
    await server.stop(grace)


def _say(pipe: Any, problem: str = "") -> None:
    """Tells the supervisor that the server serves, or why it doesn't."""
    # A supervisor that has gone meanwhile is noticed by the end of the pipe.
    with contextlib.suppress(OSError):
        pipe.send(problem)
