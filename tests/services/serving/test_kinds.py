"""The kinds of values that settings have."""

from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.serving import kinds
from pygrpc.services.serving.kinds import Kind
from pygrpc.services.serving.settings import Setting, SettingError


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (kinds.PORT, "0", 0),
        (kinds.PORT, 65535, 65535),
        (kinds.whole(1, 3), " 2 ", 2),
        (kinds.seconds(0), "0.5", 0.5),
        (kinds.seconds(1), 1, 1.0),
        (kinds.SIZE, "65536", 65536),
        (kinds.SIZE, 1, 1),
        (kinds.SIZE, "64K", 64 << 10),
        (kinds.SIZE, "4 MiB", 4 << 20),
        (kinds.SIZE, "1G", 1 << 30),
        (kinds.SWITCH, "ON", True),
        (kinds.SWITCH, "no", False),
        (kinds.SWITCH, True, True),
        (kinds.choice("a", "b"), "A", "a"),
        (kinds.words("a", "b"), "b, a", ("a", "b")),
        (kinds.words("a", "b"), ["b"], ("b",)),
        (kinds.METHODS, "/a.B/C, /a.B/*", ("/a.B/C", "/a.B/*")),
        (kinds.METHODS, "", ()),
        (kinds.ROLES, "", ()),
        (kinds.ROLES, "*=", (("*", ()),)),
        (kinds.ROLES, {"/a.B/C": ["x"]}, (("/a.B/C", ("x",)),)),
        (kinds.RATES, "*=1/2", (("*", "1/2"),)),
        (kinds.PATH, "", ""),
        (kinds.PLACE, "x", "x"),
    ],
)
def test_values(kind: Kind[Any], given: object, value: object) -> None:
    read = kind.read(given)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (kinds.PORT, "-1"),
        (kinds.PORT, "1.0"),
        (kinds.PORT, ""),
        (kinds.PORT, None),
        (kinds.PORT, "9" * 5000),
        (kinds.seconds(0), "-0.1"),
        (kinds.seconds(0), "inf"),
        (kinds.seconds(0), "soon"),
        (kinds.seconds(0), False),
        (kinds.seconds(0), []),
        (kinds.SIZE, "-1"),
        (kinds.SIZE, "2G"),
        (kinds.SIZE, "4MB"),
        (kinds.SIZE, True),
        (kinds.SIZE, 1.5),
        (kinds.SWITCH, 1),
        (kinds.SWITCH, ""),
        (kinds.choice("a"), 1),
        (kinds.words("a"), "a,"),
        (kinds.words("a"), [["a"]]),
        (kinds.words("a"), 1),
        (kinds.METHODS, "GetUser"),
        (kinds.METHODS, 1),
        (kinds.ROLES, "*"),
        (kinds.ROLES, {"*": [1]}),
        (kinds.ROLES, {"*": 1}),
        (kinds.ROLES, 1),
        (kinds.RATES, "*=1"),
        (kinds.RATES, "*=1/0"),
        (kinds.RATES, "*=nan/1"),
        (kinds.RATES, "*=1/x"),
        (kinds.RATES, {"*": 1}),
        (kinds.PATH, "a\0b"),
        (kinds.PATH, 1),
        (kinds.PLACE, ""),
        (kinds.HOST, 0),
    ],
)
def test_values_that_are_refused(kind: Kind[Any], given: object) -> None:
    with pytest.raises(ValueError):
        kind.read(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("users.db", "users.db"),
        ("sqlite:///users.db", "sqlite:///users.db"),
        ("redis://:pw@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://ann:pw@host/name", "postgresql://ann:***@host/name"),
        ("postgresql://ann@host/name", "postgresql://ann@host/name"),
        ("postgresql://ann:p/w@x@host/name", "postgresql://ann:***@host/name"),
        ("s3://bucket?region=x&aws_secret=pw&token=pw", "s3://bucket?region=x&aws_secret=***&token=***"),
        ("postgresql://host/name?user=ann&password=pw", "postgresql://host/name?user=ann&password=***"),
    ],
)
def test_passwords_are_hidden(given: str, shown: str) -> None:
    assert kinds.without_passwords(given) == shown


def test_a_secret_is_never_shown() -> None:
    setting = Setting("token", kinds.choice("abc"), "TOKEN", "a token", "", secret=True)
    assert setting.shown("abc") == '"***"'
    assert setting.shown("") == '""'
    with pytest.raises(SettingError) as raised:
        setting.read("abd", "TOKEN")
    assert str(raised.value) == "TOKEN must be one of abc"


def test_the_password_of_a_value_that_is_refused_is_not_shown() -> None:
    setting = Setting("database", kinds.choice("abc"), "DATABASE_URL", "a URL", "", secret=False)
    with pytest.raises(SettingError, match=r"not 'postgresql://ann:\*\*\*@host'$"):
        setting.read("postgresql://ann:pw@host", "DATABASE_URL")
