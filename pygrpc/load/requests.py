"""The requests of a load test: JSON that becomes messages, with placeholders that differ from call to call."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pygrpc.load.errors import LoadError


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is sent.

    Attributes:
        call: The number of the call, from 1; no two calls of a test have the same, in no two processes either.
        message: The number of the request in its call, from 1.
        client: Which of the process's clients makes the call, from 0.
        process: The number of the process, from 0.
    """

    call: int
    message: int = 1
    client: int = 0
    process: int = 0


#: What may stand in double braces within a string of the JSON.
PLACEHOLDERS: dict[str, Callable[[Place], object]] = {
    "call": lambda place: place.call,
    "message": lambda place: place.message,
    "client": lambda place: place.client,
    "process": lambda place: place.process,
    "time_ms": lambda place: time.time_ns() // 1_000_000,
    "uuid": lambda place: uuid.uuid4(),
}
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that are sent in turn; it can be pickled, for other processes.

    Attributes:
        serialized: The requests, or nothing if they have placeholders.
        values: The requests as JSON values, if they have placeholders.
        message_type: Full name of their type.
        files: The serialized files that describe the type.
    """

    serialized: tuple[bytes, ...]
    values: tuple[Any, ...] = ()
    message_type: str = ""
    files: tuple[bytes, ...] = ()

    def renderer(self) -> Callable[[int, Place], bytes]:
        """Returns what makes the request of an index, counted from 0 and around, for a place."""
        if not self.values:
            serialized, number = self.serialized, len(self.serialized)
            return lambda index, place: serialized[index % number]
        pool = pool_of(FileDescriptorProto.FromString(file) for file in self.files)
        message_class = GetMessageClass(pool.FindMessageTypeByName(self.message_type))

        def render(index: int, place: Place) -> bytes:
            value = fill_in(self.values[index % len(self.values)], place)
            message = json_format.ParseDict(value, message_class(), descriptor_pool=pool)
            return message.SerializeToString()

        return render


def read_requests(texts: list[str], message_type: Descriptor, *, placeholders: bool = True) -> Requests:
    """Makes requests of JSON.

    Args:
        texts: JSON texts, of which each has one request, a list of them, or several one behind the other.
        message_type: The type of the requests.
        placeholders: Whether ``{{call}}`` and the others of ``PLACEHOLDERS`` are replaced in strings.

    Raises:
        LoadError: A text is no JSON or does not fit the type; the error names the place or the field.
    """
    values = [value for text in texts for value in _values(text)] or [{}]
    pool = message_type.file.pool
    message_class = GetMessageClass(message_type)
    serialized = []
    varies = False
    for number, value in enumerate(values, 1):
        if placeholders:
            varies |= check_placeholders(value)
        message: Message = message_class()
        try:
            # With placeholders it is tried with the first call, so that what can't be sent is said before the test.
            filled = fill_in(value, Place(1)) if placeholders else value
            json_format.ParseDict(filled, message, descriptor_pool=pool)
            serialized.append(message.SerializeToString(deterministic=True))
        except (json_format.ParseError, TypeError, ValueError) as error:
            which = f"request {number}" if len(values) > 1 else "the request"
            text = " ".join(str(error).split())
            raise LoadError(f"{which} is no {message_type.full_name}: {text}") from None
    if not varies:
        return Requests(tuple(serialized))
    files = described_by([message_type.file, *_packed_files(values, pool)])
    return Requests((), tuple(values), message_type.full_name, tuple(file.SerializeToString() for file in files))


def _values(text: str) -> Iterator[Any]:
    """Reads the JSON values that stand one behind the other in a text; those of a list one by one."""
    decoder = json.JSONDecoder()
    position = len(text) - len(text.lstrip())
    if position == len(text):
        raise LoadError("the request is empty, and JSON has {} for a message without fields")
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise LoadError(
                f"the request is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            ) from None
        yield from value if isinstance(value, list) else [value]
        position = len(text) - len(text[position:].lstrip())


def check_placeholders(value: Any) -> bool:
    """Tells whether a JSON value has placeholders.

    Raises:
        LoadError: There is no placeholder of a name.
    """
    if isinstance(value, dict):
        return any([check_placeholders(each) for each in value.values()])
    if isinstance(value, list):
        return any([check_placeholders(each) for each in value])
    if not isinstance(value, str):
        return False
    names = _PLACEHOLDER.findall(value)
    for name in names:
        if name not in PLACEHOLDERS:
            known = ", ".join(PLACEHOLDERS)
            raise LoadError(
                f"there is no placeholder {{{{{name}}}}}: there are {known}; --literal sends braces as they are"
            )
    return bool(names)


def fill_in(value: Any, place: Place) -> Any:
    """Returns a JSON value with all placeholders in its strings replaced."""
    if isinstance(value, dict):
        return {key: fill_in(each, place) for key, each in value.items()}
    if isinstance(value, list):
        return [fill_in(each, place) for each in value]
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: str(PLACEHOLDERS[found[1]](place)), value)
    return value


def _packed_files(value: Any, pool: DescriptorPool) -> Iterator[FileDescriptor]:
    """Yields the files of the types that a JSON value has packed into ``google.protobuf.Any``."""
    if isinstance(value, dict):
        if isinstance(url := value.get("@type"), str):
            yield pool.FindMessageTypeByName(url.rpartition("/")[2]).file
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _packed_files(each, pool)


def described_by(files: list[FileDescriptor]) -> list[FileDescriptorProto]:
    """Returns files with all that they import."""
    found: dict[str, FileDescriptorProto] = {}
    while files:
        file = files.pop()
        if file.name not in found:
            found[file.name] = FileDescriptorProto()
            file.CopyToProto(found[file.name])
            files += file.dependencies
    return list(found.values())


def pool_of(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """Makes a pool of files, in whatever order they come."""
    database = DescriptorDatabase()
    for file in files:
        database.Add(file)
    return DescriptorPool(database)
