"""Turns what protoc prints for messages into modules that work from their package.

The Python plugins of protoc write imports as if the folder of generated code were on ``sys.path``
(``from user.v1 import user_pb2 as ...``). That breaks as soon as the modules live in a package of their own, so the
imports of modules in the same tree are written anew. The others (``google.protobuf``, ``google.rpc``) stay as they are.
"""

from __future__ import annotations

import re

from pygrpc.codegen.imports import ImportStyle
from pygrpc.codegen.message_stubs import mend
from pygrpc.codegen.names import is_importable, module_of
from pygrpc.codegen.texts import header

_FROM_PACKAGE = re.compile(r"^from (?P<package>\S+) import (?P<name>\w+_pb2) as (?P<alias>\w+)$", re.MULTILINE)
_TOP_LEVEL = re.compile(r"^import (?P<name>\w+_pb2) as (?P<alias>\w+)$", re.MULTILINE)
_CALL = re.compile(r"^(?P<alias>\w+) = importlib\.import_module\('(?P<module>[^']+)'\)$", re.MULTILINE)
_STAR = re.compile(r"^from (?P<module>\S+_pb2) import \*$", re.MULTILINE)
_NAME = re.compile(r"^from (?P<module>\S+_pb2) import (?P<name>\w+) as (?P=name)$", re.MULTILINE)
_MODULE_NAME_ARGUMENT = re.compile(r"(BuildTopDescriptorsAndMessages\(DESCRIPTOR, )'[^']+'")


def rewrite(text: str, proto: str, style: ImportStyle) -> str:
    """Rewrites a module that protoc made of a .proto file.

    Args:
        text: What protoc printed.
        proto: The .proto file, by its path below its folder of protos.
        style: How modules import each other.

    Returns:
        The text of the module.
    """
    text = _STAR.sub(lambda match: _star(match, style, _package(proto)), _imports(text, proto, style))
    if style.moves:
        # The message classes take their __module__ from this argument; pickle looks them up by it.
        text = _MODULE_NAME_ARGUMENT.sub(r"\1__name__", text)
    return header(proto) + text


def with_own_pool(text: str) -> str:
    """Gives a module for messages a pool of descriptors of its own.

    Protobuf's default pool refuses two different files that define the same names. With a pool of its own the module
    can be imported beside any other copy of its file; in turn, nothing that looks in the default pool finds it.

    Args:
        text: The module.
    """
    add = "AddSerializedFile("
    return text.replace(f"_descriptor_pool.Default().{add}", f"_descriptor_pool.DescriptorPool().{add}")


def rewrite_stub(text: str, proto: str, style: ImportStyle) -> str:
    """Rewrites a type stub that protoc made of a .proto file.

    Args:
        text: What protoc printed.
        proto: The .proto file, by its path below its folder of protos.
        style: How modules import each other.

    Returns:
        The text of the type stub, which mypy accepts in strict mode.
    """

    def reexport(match: re.Match[str]) -> str:
        return f"from {style.qualified(match['module'], _package(proto))} import {match['name']} as {match['name']}"

    return header(proto) + mend(_NAME.sub(reexport, _imports(text, proto, style)))


def _imports(text: str, proto: str, style: ImportStyle) -> str:
    """Writes anew the imports of whole modules, in each of the forms that protoc has for them."""

    def again(module: str, alias: str) -> str:
        package = _package(proto)
        return style.statement(module, package, alias) or f"{alias} = {style.call(module, package)}"

    text = _FROM_PACKAGE.sub(lambda match: again(f"{match['package']}.{match['name']}", match["alias"]), text)
    text = _TOP_LEVEL.sub(lambda match: again(match["name"], match["alias"]), text)
    return _CALL.sub(lambda match: again(match["module"], match["alias"]), text)


def _star(match: re.Match[str], style: ImportStyle, package: str) -> str:
    """Writes anew what a public import becomes; protoc does so as if no package were called ``in``."""
    module = match["module"]
    name = style.qualified(module, package)
    if is_importable(name):
        return f"from {name} import *"
    names = f"vars({style.call(module, package)}).items()"
    return f"globals().update({{name: value for name, value in {names} if not name.startswith('_')}})"


def _package(proto: str) -> str:
    return module_of(proto).rpartition(".")[0]
