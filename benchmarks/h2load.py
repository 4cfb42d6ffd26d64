"""The server alone: h2load from Debian's nghttp2-client is the client."""

import asyncio
import re
import shutil
import tempfile

from benchmarks.adapters import HOST
from benchmarks.scenarios import PAYLOAD, SERVICE, WrongReply, check

CONNECTIONS, STREAMS = 4, 32
WARM_UP_REQUESTS = 1280
MISSING = "h2load is not installed, so its rows are left out; `apt-get install -y nghttp2-client` installs it."
_BODY = b"\x00" + len(PAYLOAD).to_bytes(4, "big") + PAYLOAD


def installed() -> bool:
    """Return whether h2load is on the path."""
    return shutil.which("h2load") is not None


def parse(output: str, requests: int) -> float:
    """Return the requests per second that h2load printed.

    h2load does not show trailers. An RPC that failed is Trailers-Only and brings no message, so that every request is
    known to have been echoed if all were answered with 2xx and the DATA bytes are those of as many messages.

    Raises:
        WrongReply: If a request was not answered as it should be.
    """
    rate = re.search(r"^finished in .*?, ([\d.]+) req/s", output, re.MULTILINE)
    succeeded = re.search(r"^requests: .* (\d+) succeeded, 0 failed, 0 errored, 0 timeout", output, re.MULTILINE)
    statuses = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    data = re.search(r"^traffic: .* \((\d+)\) data", output, re.MULTILINE)
    if not (rate and statuses and data):
        raise WrongReply("h2load printed no figures")
    check(succeeded is not None, "requests failed under h2load")
    check(int(statuses[1]) == requests, f"{statuses[1]} of {requests} requests were answered with 2xx")
    check(int(data[1]) == requests * len(_BODY), f"{data[1]} DATA bytes came for {requests} requests")
    return float(rate[1])


async def load(port: int, requests: int) -> float:
    """Send that many requests; return how many were answered per second."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(_BODY)
        body.flush()
        process = await asyncio.create_subprocess_exec(
            *("h2load", "-c", str(CONNECTIONS), "-m", str(STREAMS), "-n", str(requests), "-d", body.name),
            *("-H", "te: trailers", "-H", "content-type: application/grpc"),
            f"http://{HOST}:{port}/{SERVICE}/Unary",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return parse(output.decode(), requests)
