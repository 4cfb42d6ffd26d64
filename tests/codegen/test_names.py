"""Names for modules, packages, and what protos call like Python does."""

from __future__ import annotations

import keyword
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.codegen.names import Names, alias_of, attribute, is_importable, module_of, path_of, relative_package

IDENTIFIERS = st.one_of(
    st.sampled_from([*keyword.kwlist, "match", "__init__", "__x", "_", "_a", "a", "a_", "a__", "None_"]),
    st.text(string.ascii_letters + "_", min_size=1, max_size=4),
)


@pytest.mark.parametrize(
    ("proto", "module"),
    [
        ("user/v1/user.proto", "user.v1.user_pb2"),
        ("top.proto", "top_pb2"),
        ("user/v2/foo-bar.proto", "user.v2.foo_bar_pb2"),
        ("git.hub/x-y/a.b.proto", "git.hub.x_y.a.b_pb2"),
    ],
)
def test_the_module_of_a_proto(proto: str, module: str) -> None:
    assert module_of(proto) == module


def test_the_path_of_a_module() -> None:
    assert path_of("user.v1.user_pb2") == "user/v1/user_pb2.py"
    assert path_of("user.v1.user_pb2", "_grpc.pyi") == "user/v1/user_pb2_grpc.pyi"


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
    ("module", "expected"),
    [
        ("user.v1", True),
        ("", True),
        (".", True),
        ("...user.v1", True),
        ("match.v1", True),
        ("alis.in.v1", False),
        ("..in", False),
        ("3d.v1", False),
        ("a b", False),
    ],
)
def test_what_an_import_statement_can_name(module: str, expected: bool) -> None:
    assert is_importable(module) is expected


MODULES = st.lists(st.text("ab_ 3-", min_size=1, max_size=3), min_size=1, max_size=3).map(".".join)


@given(MODULES, MODULES)
def test_an_alias_is_a_name_that_one_module_has(first: str, second: str) -> None:
    assert alias_of(first).isidentifier()
    assert (alias_of(first) == alias_of(second)) is (first == second)


def test_an_alias_is_that_of_protoc() -> None:
    assert alias_of("user.v1.foo_bar_pb2") == "user_dot_v1_dot_foo__bar__pb2"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("A",), "m.A"),
        (("A", "B"), "m.A.B"),
        (("None",), "getattr(m, 'None')"),
        (("None", "B", "import"), "getattr(getattr(m, 'None').B, 'import')"),
        (("__A",), "getattr(m, '__A')"),
    ],
)
def test_the_access_to_an_attribute(path: tuple[str, ...], expected: str) -> None:
    assert attribute("m", path) == expected


@given(st.lists(IDENTIFIERS, unique=True), st.sets(IDENTIFIERS))
def test_claimed_names_work_and_differ(wishes: list[str], taken: set[str]) -> None:
    claimed = Names(taken).claim_all(wishes)
    assert len(set(claimed)) == len(wishes)
    assert not taken & set(claimed)
    for wish, name in zip(wishes, claimed, strict=True):
        assert name.isidentifier()
        assert not keyword.iskeyword(name)
        assert not name.startswith("__")
        if wish not in taken and not keyword.iskeyword(wish) and not wish.startswith("__"):
            assert name == wish


def test_an_underscore_goes_behind_a_keyword() -> None:
    assert Names().claim_all(["None", "None_", "Get"]) == ["None__", "None_", "Get"]
    assert Names(["Get"]).claim("Get") == "Get_"
    assert Names().claim("__init__") == "rpc__init__"
