from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.errors import Violation
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users import validation
from pygrpc.services.users.paging import encode_token
from pygrpc.services.users.store import Position
from pygrpc.services.users.validation import Limits

LIMITS = Limits()
GOOD = {"name": "Ann", "email": "ann@example.com"}
ID = "0b0ffb4e-55ce-4d4a-9d6e-3a4e3f1f5f3a"


def create(**given: Any) -> list[Violation]:
    return validation.check_create(user_pb2.CreateUserRequest(**(GOOD | given)), LIMITS)


def update(*paths: str, **given: Any) -> list[Violation]:
    request = user_pb2.UpdateUserRequest(**({"id": ID} | given))
    request.update_mask.paths.extend(paths)
    return validation.check_update(request, LIMITS)


def links(*pairs: tuple[str, str]) -> user_pb2.Profile:
    return user_pb2.Profile(social_links=[user_pb2.SocialLink(platform=name, url=url) for name, url in pairs])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": "Zoë Ångström-O'Neill"},
        {"name": "n" * 200},
        {"email": "first.last+tag@mail.example.co.uk"},
        {"email": "用户@例子.公司"},
        {"password": "any secret\twith spaces"},
        {"password": "p" * 1024},
        {"role": user_pb2.ROLE_ADMIN},
        {"tags": ["a", "b"], "metadata": {"key": "", "other": "two\nlines"}},
        {"phone": "+44 20 7946 0000", "phone_number": "020-7946/0000"},
        {"slack_id": "U024BE7LH"},
        {"profile": user_pb2.Profile()},
        {"profile": user_pb2.Profile(bio="two\nlines", avatar_url="https://example.com/a.png")},
        {"profile": links(("web", "http://example.com"), ("code", "https://[::1]:8080/me"))},
    ],
)
def test_good_users_pass(given: dict[str, Any]) -> None:
    assert create(**given) == []


@pytest.mark.parametrize(
    ("given", "field", "description"),
    [
        ({"name": ""}, "name", "must not be empty"),
        ({"name": " \t "}, "name", "must not be empty"),
        ({"name": "n" * 201}, "name", "must not be longer than 200 characters"),
        ({"name": "a\x00b"}, "name", "must not contain control characters"),
        ({"name": "a\nb"}, "name", "must not contain control characters"),
        ({"email": ""}, "email", "must not be empty"),
        ({"email": "a@" + "b" * 250 + ".org"}, "email", "must not be longer than 254 characters"),
        ({"password": "p" * 1025}, "password", "must not be longer than 1024 characters"),
        ({"role": 99}, "role", "must be one of ROLE_USER, ROLE_ADMIN, ROLE_MODERATOR"),
        ({"tags": ["t"] * 51}, "tags", "must not have more than 50 entries"),
        ({"tags": ["a", ""]}, "tags[1]", "must not be empty"),
        ({"tags": ["a", "b", "a"]}, "tags[2]", "must not repeat an earlier tag"),
        ({"tags": ["t" * 65]}, "tags[0]", "must not be longer than 64 characters"),
        ({"metadata": {str(i): "" for i in range(65)}}, "metadata", "must not have more than 64 entries"),
        ({"metadata": {"": "x"}}, "metadata", "a key must not be empty"),
        ({"metadata": {"k" * 65: "x"}}, "metadata", "a key must not be longer than 64 characters"),
        ({"metadata": {"k": "v" * 1025}}, 'metadata["k"]', "must not be longer than 1024 characters"),
        ({"phone": ""}, "phone", "must be a phone number such as +44 20 7946 0000"),
        ({"phone_number": "call me"}, "phone_number", "must be a phone number such as +44 20 7946 0000"),
        ({"slack_id": ""}, "slack_id", "must not be empty"),
        ({"profile": user_pb2.Profile(bio="b" * 4001)}, "profile.bio", "must not be longer than 4000 characters"),
        ({"profile": user_pb2.Profile(bio="\x1b[31m")}, "profile.bio", "must not contain control characters"),
        (
            {"profile": user_pb2.Profile(avatar_url="https://e.org/" + "a" * 2048)},
            "profile.avatar_url",
            "must not be longer than 2048 characters",
        ),
        (
            {"profile": links(*[("p", "https://e.org")] * 21)},
            "profile.social_links",
            "must not have more than 20 entries",
        ),
        ({"profile": links(("", "https://e.org"))}, "profile.social_links[0].platform", "must not be empty"),
        ({"profile": links(("p", ""))}, "profile.social_links[0].url", "must not be empty"),
    ],
)
def test_each_rule_for_a_new_user(given: dict[str, Any], field: str, description: str) -> None:
    assert create(**given) == [(field, description)]


@pytest.mark.parametrize(
    "email",
    ["ann", "ann@", "@example.com", "ann@example", "a@b@example.com", "a n@example.com", "a@example..com", "a@.org"],
)
def test_what_is_no_email_address(email: str) -> None:
    assert create(email=email) == [("email", "must be an e-mail address such as name@example.com")]


@pytest.mark.parametrize(
    "url", ["example.com", "javascript:alert(1)", "https://", "ftp://e.org", "http://a b.org", "http://[::1"]
)
def test_what_is_no_url(url: str) -> None:
    assert create(profile=user_pb2.Profile(avatar_url=url)) == [("profile.avatar_url", "must be an http or https URL")]


def test_all_broken_rules_are_reported_at_once() -> None:
    assert [violation.field for violation in create(name="", email="x", tags=[""], role=77)] == [
        "name",
        "email",
        "role",
        "tags[0]",
    ]


def test_descriptions_do_not_repeat_values() -> None:
    secret = "hunter2" + "\x07"
    violations = create(name=secret, email=secret, password=secret * 200, tags=[secret], phone=secret)
    assert len(violations) == 5
    assert "hunter2" not in str(violations)


@pytest.mark.parametrize(
    ("user_id", "description"),
    [("", "must not be empty"), ("i" * 65, "must not be longer than 64 characters")],
)
def test_ids(user_id: str, description: str) -> None:
    assert validation.check_id(user_id, LIMITS) == [("id", description)]
    assert validation.check_id("anything", LIMITS) == []


@pytest.mark.parametrize(
    ("paths", "given"),
    [
        ([], {"name": "Bob"}),
        (["name", "tags"], {"name": "Bob"}),
        (["profile", "metadata", "phone", "phone_number", "slack_id"], {}),
        (["profile.bio", "profile.avatar_url", "profile.social_links"], {}),
        (["*"], {"name": "Bob", "email": "b@example.com", "status": 2, "role": 1}),
        (["status"], {"status": user_pb2.USER_STATUS_PENDING, "name": "n" * 500}),
    ],
)
def test_good_changes_pass(paths: list[str], given: dict[str, Any]) -> None:
    assert update(*paths, **given) == []


@pytest.mark.parametrize(
    ("paths", "given", "field", "description"),
    [
        (["name"], {"id": "", "name": "Bob"}, "id", "must not be empty"),
        ([], {}, "update_mask", "must name a field if none is set"),
        (["name"], {}, "name", "must not be empty"),
        (["email"], {}, "email", "must not be empty"),
        (["status"], {}, "status", "must be given"),
        (["role"], {}, "role", "must be given"),
        (
            ["status"],
            {"status": 9},
            "status",
            "must be one of USER_STATUS_ACTIVE, USER_STATUS_INACTIVE, USER_STATUS_PENDING",
        ),
        (["nickname"], {}, "update_mask", '"nickname" cannot be updated'),
        (["id"], {}, "update_mask", '"id" cannot be updated'),
        (["password"], {}, "update_mask", '"password" cannot be updated'),
        (["created_at", "name"], {"name": "Bob"}, "update_mask", '"created_at" cannot be updated'),
        (["metadata.key"], {}, "update_mask", '"metadata.key" cannot be updated'),
        (["x" * 100], {}, "update_mask", f'"{"x" * 64}..." cannot be updated'),
        (["name"] * 51, {"name": "Bob"}, "update_mask", "must not have more than 50 paths"),
        (
            ["profile.bio"],
            {"profile": user_pb2.Profile(bio="\x00")},
            "profile.bio",
            "must not contain control characters",
        ),
    ],
)
def test_each_rule_for_a_change(paths: list[str], given: dict[str, Any], field: str, description: str) -> None:
    assert update(*paths, **given) == [(field, description)]


@pytest.mark.parametrize(
    ("given", "field", "description"),
    [
        ({"page_size": -1}, "page_size", "must not be negative"),
        ({"offset": -1}, "offset", "must be from 0 to 1000000"),
        ({"offset": 1_000_001}, "offset", "must be from 0 to 1000000"),
        (
            {"status_filter": 9},
            "status_filter",
            "must be one of USER_STATUS_ACTIVE, USER_STATUS_INACTIVE, USER_STATUS_PENDING",
        ),
        ({"page_token": "garbage"}, "page_token", "is not a page token of this service"),
        (
            {"page_token": encode_token(Position(1, ID), 1)},
            "page_token",
            "belongs to a list with another status_filter",
        ),
    ],
)
def test_each_rule_for_a_list(given: dict[str, Any], field: str, description: str) -> None:
    assert validation.check_list(user_pb2.ListUsersRequest(**given), LIMITS) == [(field, description)]


def test_a_good_list_passes() -> None:
    token = encode_token(Position(1, ID), user_pb2.USER_STATUS_ACTIVE)
    request = user_pb2.ListUsersRequest(page_size=2**31 - 1, page_token=token, status_filter=1, offset=1_000_000)
    assert validation.check_list(request, LIMITS) == []
    assert validation.check_list(user_pb2.ListUsersRequest(), LIMITS) == []


@pytest.mark.parametrize(
    ("user_id", "content", "violations"),
    [
        ("ann", "hello\nthere", []),
        ("", "hello", [("user_id", "must not be empty")]),
        ("System", "hello", [("user_id", 'must not be "system", which is the server')]),
        ("ann", "", [("content", "must not be empty")]),
        ("ann", "c" * 4097, [("content", "must not be longer than 4096 characters")]),
    ],
)
def test_chat_messages(user_id: str, content: str, violations: list[tuple[str, str]]) -> None:
    message = user_pb2.ChatMessage(user_id=user_id, content=content)
    assert validation.check_chat(message, LIMITS) == violations


def test_the_largest_user_fits_into_a_message_of_the_default_size() -> None:
    wide = "\U0001f600"
    request = user_pb2.CreateUserRequest(
        name=wide * LIMITS.name_length,
        email=f"a@{wide * 240}.org",
        tags=[f"{i:02}" + wide * (LIMITS.label_length - 2) for i in range(LIMITS.tags)],
        metadata={
            f"{i:02}" + wide * (LIMITS.label_length - 2): wide * LIMITS.metadata_value_length
            for i in range(LIMITS.metadata_entries)
        },
        profile=links(*[(wide * LIMITS.label_length, "https://e.org/" + wide * 2034)] * LIMITS.social_links),
    )
    assert validation.check_create(request, LIMITS) == []
    assert request.ByteSize() < 1024 * 1024
