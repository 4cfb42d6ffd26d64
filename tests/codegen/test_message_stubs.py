"""The mending of protoc's type stubs; test_awkward_names.py and test_typing.py try it on what protoc really writes."""

from __future__ import annotations

import ast

import pytest

from pygrpc.codegen.message_stubs import mend


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("class None(_message.Message):\n    x: int\n", "class _None_(_message.Message):\n    x: int\n"),
        ("    class def(int):\n        x: int\n", "    class _def_(int):\n        x: int\n"),
        ("x: getattr(A, 'None')\n", "x: A._None_\n"),
        ("x: getattr(getattr(A, 'None'), 'import')\n", "x: A._None_._import_\n"),
        ("x: getattr(A.B, 'None')\n", "x: A.B._None_\n"),
        ("x: globals()['class']\n", "x: _class_\n"),
        ("x: _a_pb2.globals()['None']\n", "x: _a_pb2._None_\n"),
        ("x: _a_pb2.getattr(A, 'None')\n", "x: _a_pb2.A._None_\n"),
        ("in: _ClassVar[Kind]\nout: _ClassVar[Kind]\n", "out: _ClassVar[Kind]\n"),
        ("    None: M.Inner\n    None_: M.Inner\n", "    None_: M.Inner\n"),
        ("from a.b_pb2 import None as None\n", "from a.b_pb2 import _None_ as _None_\n"),
        ("from a.b_pb2 import A as A\n", "from a.b_pb2 import A as A\n"),
        ("from collections.abc import Iterable as _Iterable, Mapping as _Mapping\n",) * 2,
        ("x: _Mapping[str, int]\n",) * 2,
        ("EXT_FIELD_NUMBER: _ClassVar[int]\n", "EXT_FIELD_NUMBER: int\n"),
        ("    EXT_FIELD_NUMBER: _ClassVar[int]\n",) * 2,
        ("DESCRIPTOR: _descriptor.FileDescriptor\n",) * 2,
    ],
)
def test_what_needs_no_any(line: str, expected: str) -> None:
    assert mend_block(line) == mend_block(expected) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x: _Union[A, _Mapping]\n", "x: _Union[A, _Mapping[str, _Any]]\n"),
        ("def f(**kwargs) -> None: ...\n", "def f(**kwargs: _Any) -> None: ...\n"),
        ("from a.in.b_pb2 import A as A\n", "A = _Any\n"),
        (
            "from google.protobuf.internal import python_message as _python_message\n"
            "class A:\n    Extensions: _python_message._ExtensionDict\n",
            "class A:\n    Extensions: _Any\n",
        ),
        ("from a.in.b_pb2 import None as None\n", "_None_ = _Any\n"),
        ("import importlib\n_b_pb2 = importlib.import_module('a.in.b_pb2')\nx: _b_pb2.A.B\n", "x: _Any\n"),
        ("_b_pb2 = importlib.import_module('..in.b_pb2', __package__)\nx: _Opt[_b_pb2.A]\n", "x: _Opt[_Any]\n"),
        ("_b_pb2 = importlib.import_module('a.in.b_pb2')\nx: _b_pb2.globals()['None']\n", "x: _Any\n"),
    ],
)
def test_what_needs_any(line: str, expected: str) -> None:
    assert mend(line) == f"from typing import Any as _Any\n{expected}"


def mend_block(text: str) -> str:
    """Mends some lines, also those that stand within a class."""
    if not text.startswith(" "):
        return mend(text)
    return mend(f"class Outer:\n{text}").removeprefix("class Outer:\n")


def test_what_cannot_be_mended_has_no_types() -> None:
    mended = mend("class A(:\n")
    ast.parse(mended)
    assert "def __getattr__(name: str) -> _typing.Any: ..." in mended
