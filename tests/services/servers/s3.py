"""An S3 server that keeps everything in its memory."""

from __future__ import annotations

import importlib.util
import sys
import urllib.request
import uuid

from tests.services import servers

#: What the clients of the server say who they are; it believes everybody.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-central-1"}


class S3Server:
    """A server in a process of its own."""

    def __init__(self) -> None:
        for package in ("moto", "flask", "flask_cors"):
            if importlib.util.find_spec(package) is None:
                servers.leave_out(f"{package} is not installed (Python package)")
        self.port = servers.free_port()
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = servers.Process(command, lambda line: "Running on" in line)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_bucket(self) -> str:
        """Makes a bucket; returns the URL of a storage in it."""
        name = f"bucket-{uuid.uuid4().hex}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        # Not through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=servers.BOUND) as answer:
            assert answer.status == 200
        return f"s3://{name}/some/where?endpoint={self.endpoint}"

    def stop(self) -> None:
        self._process.stop()
