"""A Redis server that keeps nothing."""

from __future__ import annotations

from tests.services import servers


class RedisServer:
    """A server on a port of its own, which it keeps when it is started again."""

    def __init__(self, folder: str, password: str = "") -> None:
        self._program = servers.program("redis-server", "redis-server")
        self._folder = folder
        self._password = password
        self._process: servers.Process | None = None
        self.port = servers.free_port()
        self.start()

    @property
    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [self._program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self._folder]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", ""]
        if self._password:
            command += ["--requirepass", self._password]
        self._process = servers.Process(command, lambda line: "eady to accept connections" in line)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
