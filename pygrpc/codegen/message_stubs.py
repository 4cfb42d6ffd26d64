"""Mends the type stubs that protoc writes for messages (``<name>_pb2.pyi``).

They are no Python where a proto uses one of its keywords: ``class None(...)``, ``in: _ClassVar[Kind]``,
``from in.a_pb2 import A``. What no program can write as an attribute is left out here, as protoc itself does with
fields; a message or enum of such a name stays under a private one, so that fields have its type. Type checkers in
strict mode also ask for the parameters of ``Mapping``, and for the type of ``**kwargs``. Extensions of proto2 get a
class variable outside of a class, and a type that types-protobuf does not have.
"""

from __future__ import annotations

import ast
import keyword
import re

from pygrpc.codegen.names import is_importable
from pygrpc.codegen.stub_writer import type_name

_KEYWORDS = "|".join(keyword.kwlist)

#: ``getattr(A, 'None')`` and ``globals()['None']``, also with the alias of a module in front.
_GETATTR = re.compile(r"(?P<module>\b\w+\.)?\bgetattr\((?P<owner>[\w.]+), '(?P<name>\w+)'\)")
_GLOBALS = re.compile(r"\bglobals\(\)\['(?P<name>\w+)'\]")
_CLASS = re.compile(rf"^(?P<head> *class )(?P<name>{_KEYWORDS})\(", re.MULTILINE)
_ATTRIBUTE = re.compile(rf"^ *(?:{_KEYWORDS}): .*\n", re.MULTILINE)
_MODULE = re.compile(r"^(?P<alias>\w+) = importlib\.import_module\(.*\)\n", re.MULTILINE)
_REEXPORT = re.compile(r"^from (?P<module>\S+) import (?P<name>\w+) as (?P=name)\n", re.MULTILINE)
_BARE_MAPPING = re.compile(r"(?<!as )\b_Mapping(?=[],])")
_EXTENSION = re.compile(r"^(\w+_FIELD_NUMBER): _ClassVar\[int\]$", re.MULTILINE)
_EXTENSIONS = re.compile(r"\b_python_message\._ExtensionDict\b")
_PYTHON_MESSAGE = re.compile(
    r"^from google\.protobuf\.internal import python_message as _python_message\n", re.MULTILINE
)
_IMPORTLIB = re.compile(r"^import importlib\n", re.MULTILINE)

_UNTYPED = "import typing as _typing\n\ndef __getattr__(name: str) -> _typing.Any: ...\n"


def mend(text: str) -> str:
    """Makes a type stub of messages valid and strict.

    Args:
        text: What protoc wrote.

    Returns:
        A type stub with the same names; one without any types if there is no other way.
    """
    text = _reexports(_modules(_keywords(text)))
    text = _BARE_MAPPING.sub("_Mapping[str, _Any]", text)
    text = re.sub(r"\*\*kwargs\)", "**kwargs: _Any)", text)
    text = _EXTENSION.sub(r"\1: int", _EXTENSIONS.sub("_Any", _PYTHON_MESSAGE.sub("", text)))
    if re.search(r"\b_Any\b", text):
        text = f"from typing import Any as _Any\n{text}"
    try:
        ast.parse(text)
    except SyntaxError:
        return _UNTYPED
    return text


def _keywords(text: str) -> str:
    while (replaced := _GETATTR.sub(_dotted, text)) != text:
        text = replaced
    text = _GLOBALS.sub(lambda match: type_name(match["name"]), text)
    text = _CLASS.sub(lambda match: f"{match['head']}{type_name(match['name'])}(", text)
    return _ATTRIBUTE.sub("", text)


def _dotted(match: re.Match[str]) -> str:
    return f"{match['module'] or ''}{match['owner']}.{type_name(match['name'])}"


def _modules(text: str) -> str:
    """Replaces the types of modules that no import statement can name."""
    for match in _MODULE.finditer(text):
        text = re.sub(rf"(?<![\w.]){match['alias']}\.[\w.]+", "_Any", text)
    return _IMPORTLIB.sub("", _MODULE.sub("", text))


def _reexports(text: str) -> str:
    """Spells the names that a public import brings along."""

    def again(match: re.Match[str]) -> str:
        module, name = match["module"], type_name(match["name"])
        return f"from {module} import {name} as {name}\n" if is_importable(module) else f"{name} = _Any\n"

    return _REEXPORT.sub(again, text)
