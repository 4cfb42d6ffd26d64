"""Files of records that a command imports: CSV, or JSON on each line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from pygrpc.services.clients.commands.common import CommandError

_M = TypeVar("_M", bound=Message)


def batches_of(
    path: str, kind: type[_M], size: int, adapt: Callable[[dict[str, str]], object] = lambda row: None
) -> Iterator[list[tuple[str, _M]]]:
    """Reads messages from a file.

    Args:
        path: A .csv file, whose first line names fields, or one with an object as JSON on each line; "-" for JSON from
            standard input.
        kind: The class of the messages.
        size: How many there are in a batch at most.
        adapt: Changes a row of CSV into what the fields take.

    Yields:
        Batches of messages, each with the place where it stands.

    Raises:
        OSError: The file can't be read.
        CommandError: It holds something else.
    """
    with open(0, encoding="utf-8", closefd=False) if path == "-" else open(path, encoding="utf-8", newline="") as file:
        batch: list[tuple[str, _M]] = []
        name = "standard input" if path == "-" else path
        for number, fields in _csv(file, adapt) if Path(path).suffix.lower() == ".csv" else _json(file, name):
            place = f"{name}, line {number}"
            try:
                batch.append((place, json_format.ParseDict(fields, kind())))
            except json_format.ParseError as error:
                raise CommandError(f"{place}: {error}") from None
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


def _csv(file: TextIO, adapt: Callable[[dict[str, str]], object]) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(file)
    for row in reader:
        fields = {key: value for key, value in row.items() if key and value}
        adapt(fields)
        yield reader.line_num, fields


def _json(file: TextIO, name: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise CommandError(f"{name}, line {number} is no JSON: {error}") from None
