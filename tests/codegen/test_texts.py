"""Headers and docstrings."""

from __future__ import annotations

import ast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pygrpc.codegen.texts import docstring, header, is_generated, module_head

COMMENTS = st.text(st.one_of(st.sampled_from("\"\\'\n a{}#\r\x00\x0c\u2028\ufeff"), st.characters(codec="utf-8")))


def read(text: str) -> str:
    """Returns the docstring as Python reads it."""
    function = ast.parse(f"def f():\n{text}").body[0]
    assert isinstance(function, ast.FunctionDef)
    return ast.get_docstring(function, clean=False) or ""


@given(COMMENTS.filter(lambda comment: comment.strip()))
@example("     indented\n     more")
@example('ends in a quote"')
@example('"""')
@example('a""""')
@example("back\\slash\\")
@example('\\"')
def test_a_comment_comes_back_as_it_was(comment: str) -> None:
    text = docstring(comment, "fallback", "    ")
    first, *rest = read(text).split("\n")
    found = "\n".join([first, *(line.removeprefix("    ") for line in rest)])
    assert found.rstrip(" ") == comment.rstrip(" ") + ("\n" if "\n" in comment else "")
    assert text.endswith('"""\n')


def test_one_line_takes_one() -> None:
    assert docstring("Gets it.", "x", "    ") == '    """Gets it."""\n'


def test_several_lines_are_indented() -> None:
    assert docstring("Gets it.\n\n  - and more", "x", "    ") == ('    """Gets it.\n\n      - and more\n    """\n')


def test_without_a_comment_the_fallback_is_taken() -> None:
    assert docstring("", "Calls Get.", "") == '"""Calls Get."""\n'


def test_the_header_is_known_again() -> None:
    assert is_generated(header("user/v1/user.proto"))
    assert is_generated(module_head("user/v1/user.proto").splitlines()[0])
    assert not is_generated("# Written by hand.\n")


@pytest.mark.parametrize("proto", ["a.proto", "ä.proto", "a\nimport os.proto", 'quote".proto'])
def test_whatever_a_file_is_called_the_head_is_python(proto: str) -> None:
    module = ast.parse(module_head(proto))
    assert [type(node) for node in module.body] == [ast.Expr]
