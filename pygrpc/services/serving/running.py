"""The life of the program: signals, and worker processes."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from pygrpc import aio, run_workers
from pygrpc.services.serving import logs, processes
from pygrpc.services.serving.configuration import Configuration
from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.server import Server, listen_address

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(configuration: Configuration, ready: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, then lets the running calls finish within the grace; a second signal ends them.

    The main thread has to call this. With several workers, each sets up its logging by `logs.set_up`.

    Args:
        configuration: How to run.
        ready: Called with the address, `HOST:PORT`, once calls are accepted, by all workers if there are several.

    Raises:
        StartError: The server cannot start; the text says why.
    """
    if configuration.workers == 1:
        asyncio.run(_run(configuration, ready))
        return
    address = listen_address(configuration)
    if configuration.port:
        asyncio.run(_check_port(address))
    try:
        with processes.counted_together() if configuration.metrics else nullcontext():
            run_workers(
                functools.partial(_serve, configuration),
                address,
                configuration.workers,
                grace=configuration.grace,
                ready=ready,
            )
    except RuntimeError as error:
        raise StartError(str(error)) from error
    except SystemExit as error:
        raise StartError(str(error.code).removeprefix("run_workers: ")) from error


async def _run(configuration: Configuration, ready: Callable[[str], None]) -> None:
    """Runs the server in this process."""
    with _told_to_stop() as told:
        server = Server(configuration)
        starting, first = asyncio.ensure_future(server.start()), asyncio.ensure_future(told.acquire())
        try:
            await asyncio.wait((starting, first), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await _give_up(starting, server)
                return
            await starting
            ready(server.address)
            await first
        finally:
            first.cancel()
        await _stop(server, configuration.grace, told)
    _log.info("Stopped.")


async def _give_up(starting: asyncio.Future[None], server: Server) -> None:
    """Ends a server that has not started yet."""
    starting.cancel()
    await asyncio.wait((starting,))
    # It may just have started, or failed, and then nobody waits for that any more.
    if not starting.cancelled() and (error := starting.exception()) is not None:
        _log.info("Stopped while it could not start: %s.", error)
    await server.stop(0)


async def _stop(server: Server, grace: float, told: asyncio.Semaphore) -> None:
    _log.info("Stopping; running calls have %g seconds.", grace)
    stopping, second = asyncio.ensure_future(server.stop(grace)), asyncio.ensure_future(told.acquire())
    await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        _log.warning("Stopping at once.")
        await server.stop(0)
    second.cancel()
    await stopping


@contextmanager
def _told_to_stop() -> Iterator[asyncio.Semaphore]:
    """Counts the signals to stop; the third one has the effect that it has without us."""
    told = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    left = 2

    def on_signal() -> None:
        nonlocal left
        left -= 1
        told.release()
        if not left:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield told
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


async def _serve(configuration: Configuration, address: str) -> Server:
    """Makes the server of a worker."""
    logs.set_up(configuration)
    processes.forget_the_dead()
    return _Worker(configuration, address=address, share_port=True, serve_metrics=processes.is_first_worker())


class _Worker(Server):
    """A server whose failure to start is a sentence, and no defect with a traceback."""

    async def start(self) -> None:
        """See Server."""
        try:
            await super().start()
        except StartError as error:
            raise SystemExit(str(error)) from error


async def _check_port(address: str) -> None:
    """Makes sure that nobody else has the port: what several workers share, a stranger could share, too."""
    server = aio.server(options=(("grpc.so_reuseport", 0),))
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(str(error)) from error
    finally:
        await server.stop(None)
