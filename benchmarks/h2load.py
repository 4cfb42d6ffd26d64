"""The server alone: h2load from Debian's nghttp2-client is the client."""

import asyncio
import re
import shutil
import tempfile

from benchmarks.work import HOST, SERVICE, Work, WrongReply, check, frame

WARM_UP_REQUESTS = 1280
MISSING = "h2load is not installed; `apt-get install -y nghttp2-client` installs it"


def installed() -> bool:
    """Return whether h2load is on the path."""
    return shutil.which("h2load") is not None


def parse(output: str, requests: int, reply: int) -> float:
    """Return the requests per second that h2load printed.

    h2load does not show trailers. An RPC that failed is Trailers-Only and brings no message, so that every request is
    known to have been echoed if all were answered with 2xx and the DATA bytes are those of as many messages.

    Args:
        output: What h2load printed.
        requests: How many it was to send.
        reply: The bytes of DATA that each should bring.

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
    check(int(data[1]) == requests * reply, f"{data[1]} DATA bytes came for {requests} requests")
    return float(rate[1])


def headers(work: Work) -> list[str]:
    """Return the headers of a request, as h2load takes them; they are the same in each request."""
    lines = ["te: trailers", "content-type: application/grpc"]
    options = work.call_options()
    if options is not None:
        made = options()
        lines += [f"{name}: {value}" for name, value in made.get("metadata", ())]
        if "timeout" in made:
            lines.append(f"grpc-timeout: {made['timeout'] * 1000:.0f}m")
    return lines


async def load(port: int, requests: int, work: Work) -> float:
    """Send that many requests; return how many were answered per second."""
    body = frame(work.payload)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *("h2load", "-c", str(work.connections), "-m", str(work.lanes), "-n", str(requests), "-d", file.name),
            *(part for line in headers(work) for part in ("-H", line)),
            f"{'https' if work.tls else 'http'}://{HOST}:{port}/{SERVICE}/Unary",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return parse(output.decode(), requests, len(body))
