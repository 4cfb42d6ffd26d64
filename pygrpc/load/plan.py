"""What a load test is to do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pygrpc.load.requests import Requests


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is to prove who it is, and the client too.

    Attributes:
        roots: The certificates that are trusted, as PEM; None for those of the system.
        key: The private key of the client, as PEM.
        certificate: The certificate of the client with its chain, as PEM.
        server_name: The name that the server's certificate has to have; None for that of the target.
    """

    roots: bytes | None = None
    key: bytes | None = None
    certificate: bytes | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A load test, or the part of one that a process does.

    Attributes:
        target: Where the server is, as a channel takes it.
        method: Full name of the method: ``package.Service/Method``.
        requests: What is sent.
        client_streaming: Whether a call takes a stream of requests.
        server_streaming: Whether a call answers with a stream.
        messages: How many requests a call sends, if it takes a stream.
        receive: After how many responses a call is ended, if it answers with a stream; None to read to its end.
        metadata: What each call sends besides.
        timeout: Seconds that a call may take.
        connect_timeout: Seconds that it may take to connect.
        concurrency: How many calls are going on at the same time.
        connections: How many connections they share.
        rate: Calls that begin per second, whether or not others have ended; None to begin one when another has ended.
        duration: Seconds for which calls begin; None for no bound.
        calls: How many calls there are; None for no bound.
        warmup: Seconds of calls before those, which are not counted.
        pause: Seconds between a call and the next one of the same client.
        options: Channel options.
        tls: How to use TLS; None for none.
        process: Which of the processes this part is for, from 0.
        processes: How many processes there are.
    """

    target: str
    method: str
    requests: Requests
    client_streaming: bool = False
    server_streaming: bool = False
    messages: int = 1
    receive: int | None = None
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    timeout: float = 20.0
    connect_timeout: float = 10.0
    concurrency: int = 10
    connections: int = 1
    rate: float | None = None
    duration: float | None = None
    calls: int | None = None
    warmup: float = 0.0
    pause: float = 0.0
    options: tuple[tuple[str, str | int], ...] = ()
    tls: Tls | None = None
    process: int = 0
    processes: int = 1

    @property
    def offset(self) -> float:
        """Seconds by which the calls of this process are later than those of the first: the processes take turns."""
        return 0.0 if self.rate is None else self.process / (self.rate * self.processes)

    def parts(self, processes: int) -> list[Plan]:
        """Divides the work.

        Args:
            processes: How many processes there are; no more than calls at the same time.
        """
        return [
            dataclasses.replace(
                self,
                concurrency=share(self.concurrency, process, processes),
                connections=max(share(self.connections, process, processes), 1),
                rate=None if self.rate is None else self.rate / processes,
                calls=None if self.calls is None else share(self.calls, process, processes),
                process=process,
                processes=processes,
            )
            for process in range(processes)
        ]


def share(total: int, index: int, parts: int) -> int:
    """Returns one part of a number that is divided as evenly as can be."""
    return total // parts + (index < total % parts)
