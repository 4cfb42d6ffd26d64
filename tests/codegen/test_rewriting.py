"""The rewriting of generated text, without running the compiler."""

from __future__ import annotations

import pytest

from pygrpc.codegen.rewriting import HEADER, module_of, relative_package, rewrite

MODULES = {"top_pb2", "user.v1.user_pb2", "user.v1.chat_pb2", "user.v2.foo_bar_pb2", "file.file_pb2"}


def body(text: str, proto: str = "user/v1/user.proto") -> str:
    """Rewrites some text and takes the header off again."""
    rewritten = rewrite(text, proto, MODULES)
    header = HEADER.format(proto=proto)
    assert rewritten.startswith(header)
    return rewritten.removeprefix(header)


@pytest.mark.parametrize(
    ("proto", "module"),
    [
        ("user/v1/user.proto", "user.v1.user_pb2"),
        ("top.proto", "top_pb2"),
        ("user/v2/foo-bar.proto", "user.v2.foo_bar_pb2"),
    ],
)
def test_the_module_of_a_proto(proto: str, module: str) -> None:
    assert module_of(proto) == module


@pytest.mark.parametrize(
    ("package", "importer", "expected"),
    [
        ("user.v1", "user.v1", "."),
        ("user.v2", "user.v1", "..v2"),
        ("user", "user.v1", ".."),
        ("user.v1.deep", "user.v1", ".deep"),
        ("file", "user.v1", "...file"),
        ("", "user.v1", "..."),
        ("user.v1", "", ".user.v1"),
        ("", "", "."),
        ("user.v10", "user.v1", "..v10"),
    ],
)
def test_a_package_is_seen_from_another(package: str, importer: str, expected: str) -> None:
    assert relative_package(package, importer) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from user.v1 import chat_pb2 as x\n", "from . import chat_pb2 as x\n"),
        ("from user.v2 import foo_bar_pb2 as x\n", "from ..v2 import foo_bar_pb2 as x\n"),
        ("from file import file_pb2 as x\n", "from ...file import file_pb2 as x\n"),
        ("import top_pb2 as top__pb2\n", "from ... import top_pb2 as top__pb2\n"),
        ("from user.v1.chat_pb2 import *\n", "from .chat_pb2 import *\n"),
        ("from file.file_pb2 import A as A\n", "from ...file.file_pb2 import A as A\n"),
        ("from top_pb2 import *\n", "from ...top_pb2 import *\n"),
    ],
)
def test_an_import_of_the_same_run_becomes_relative(line: str, expected: str) -> None:
    assert body(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "from google.protobuf import empty_pb2 as google_dot_protobuf_dot_empty__pb2\n",
        "from google.rpc import status_pb2 as x\n",
        "from google.protobuf.any_pb2 import *\n",
        "from user.v1 import other_pb2 as x\n",
        "import other_pb2 as x\n",
        "from collections.abc import Mapping as _Mapping\n",
        "import warnings\n",
    ],
)
def test_other_imports_stay(line: str) -> None:
    assert body(line) == line


def test_grpc_is_replaced_by_pygrpc() -> None:
    text = "import grpc\nimport grpc_other\ntry:\n    from grpc._utilities import first_version_is_lower\n"
    assert body(text) == (
        "import pygrpc as grpc\nimport grpc_other\ntry:\n    from pygrpc._utilities import first_version_is_lower\n"
    )


def test_text_within_a_line_is_left_alone() -> None:
    text = '    """Say "from user.v1 import user_pb2 as x" or import grpc."""\n'
    assert body(text) == text


def test_message_classes_know_the_module_that_they_are_in() -> None:
    text = "_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, 'user.v1.user_pb2', _globals)\n"
    assert body(text) == "_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, __name__, _globals)\n"
