"""The two processes of a measurement; the runner starts them and talks to them in lines of JSON.

    python -m benchmarks.worker server SIDE WORK            prints its port, then its usage for each line it reads
    python -m benchmarks.worker client SIDE WORK SECONDS    reads the port; prints its usage after each step, and reads
                                                            a line before it goes on

What goes wrong is printed as {"failed": reason}.
"""

import json
import resource
import sys
from pathlib import Path

from benchmarks.drive import Figures, drive
from benchmarks.implementations import connect, serve
from benchmarks.work import Work

# ru_maxrss is in kibibytes, except on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_STATUS = Path("/proc/self/status")
FILES = 65_536


def usage() -> Figures:
    """Return the CPU seconds, user and system, of this process, and its resident set, now and at its highest, in bytes.

    Where there is no /proc, the present size is the highest one. ru_maxrss is the second choice, because on Linux a new
    process starts with that of its parent.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        rss, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    else:
        rss = peak = used.ru_maxrss * _RSS_UNIT
    return {"cpu": used.ru_utime + used.ru_stime, "rss": rss, "peak": peak}


def file_limit() -> int:
    """Return how many open files this user's processes may have if they ask for it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return FILES if hard == resource.RLIM_INFINITY else hard


def raise_file_limit() -> None:
    """Let this process have as many open files as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, file_limit()), hard))


def _say(message: object) -> None:
    print(json.dumps(message), flush=True)


def _hold(port: int) -> None:
    _say({"port": port})
    for _ in sys.stdin:
        _say(usage())


def _pause(figures: Figures) -> None:
    _say(usage() | figures)
    sys.stdin.readline()


def reason(error: BaseException) -> str:
    """Return one line; an ExceptionGroup is named by what happened first, a failed RPC by its status."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):
        return f"{code()}: {details()}"
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def main(role: str, side: str, work: str, *seconds: str) -> int:
    """Play one role to its end; return the exit status."""
    try:
        raise_file_limit()
        given = Work.from_json(work)
        if role == "server":
            serve(side, _hold, given)
        else:
            port = json.loads(sys.stdin.readline())["port"]
            drive(lambda: connect(side, port, given), given, float(*seconds), _pause)
    except Exception as error:
        _say({"failed": reason(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
