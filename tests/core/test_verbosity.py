"""GRPC_VERBOSITY and GRPC_TRACE."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from pygrpc import _verbosity


@pytest.fixture
def logger() -> logging.Logger:
    """A logger that stands for the library's, below a root logger without handlers."""
    root = logging.RootLogger(logging.WARNING)
    made = logging.Logger("library")
    made.parent, made.manager = root, logging.Manager(root)
    return made


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [("debug", "DIWE"), ("INFO", "IWE"), ("Error", "E"), ("none", ""), ("", "")],
)
def test_a_level_shows_what_is_as_important(
    logger: logging.Logger, verbosity: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(logging.NullHandler())
    _verbosity.apply({"GRPC_VERBOSITY": verbosity}, logger)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(level, "a message")
    assert [line[0] for line in capsys.readouterr().err.splitlines()] == list(shown)


def test_a_program_that_has_set_up_logging_sees_it_once(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    _verbosity.apply({"GRPC_VERBOSITY": "debug"}, logger)
    records: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    assert logger.parent is not None
    logger.parent.addHandler(Handler())
    logger.debug("a message")
    assert [record.getMessage() for record in records] == ["a message"]
    assert capsys.readouterr().err == ""


def test_what_is_no_level_is_said(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    logger.addHandler(caplog.handler)
    _verbosity.apply({"GRPC_VERBOSITY": "loud"}, logger)
    assert caplog.messages == ["GRPC_VERBOSITY can't be 'loud': expected debug, info, error or none"]
    assert logger.level == logging.NOTSET


def test_tracers_are_children(logger: logging.Logger) -> None:
    _verbosity.apply({"GRPC_VERBOSITY": "info", "GRPC_TRACE": "http, -timer,"}, logger)
    assert logger.level == logging.INFO
    assert logger.getChild("http").level == logging.DEBUG
    assert logger.getChild("timer").level == logging.INFO
    _verbosity.apply({"GRPC_VERBOSITY": "error", "GRPC_TRACE": "all"}, logger)
    assert logger.level == logging.DEBUG


def test_the_variables_count_from_the_import_on() -> None:
    program = "import logging, pygrpc; print(logging.getLogger('pygrpc').level)"
    run = subprocess.run(
        [sys.executable, "-c", program], env={"GRPC_VERBOSITY": "debug"}, capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == str(logging.DEBUG), run.stderr
