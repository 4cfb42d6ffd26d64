"""How the log looks."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from pygrpc.services.serving import Configuration, logs
from tests.source_tree import ROOT


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("pygrpc", logging.INFO, "file", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_text_for_people() -> None:
    formatter = logs.TextFormatter()
    assert formatter.format(record("Stopped.")).endswith(" INFO pygrpc: Stopped.")
    call = {"method": "/a/B", "code": "OK", "request_id": "", "identity": None, "peer": "a b", "requests": 1}
    line = formatter.format(record("/a/B OK", call=call))
    assert line.endswith(' INFO pygrpc: /a/B OK request_id= identity= peer="a b" requests=1')


def test_the_configuration_chooses() -> None:
    text, lines = (logs.formatter_of(Configuration(log_format=log_format)) for log_format in ("text", "json"))
    assert text.format(record("Stopped.")).endswith("INFO pygrpc: Stopped.")
    assert json.loads(lines.format(record("Stopped.")))["message"] == "Stopped."


@pytest.mark.parametrize(("log_format", "begin"), [("text", "2"), ("json", "{")])
def test_the_log_goes_to_standard_error(log_format: str, begin: str) -> None:
    program = (
        "import logging\nfrom pygrpc.services.serving import Configuration, logs\n"
        f"logs.set_up(Configuration(log_format={log_format!r}, log_level='warning'))\n"
        "logging.info('not this')\nlogging.warning('this')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(begin)
    assert "this" in line
