from __future__ import annotations

from typing import Any

import pytest

from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users import fields


def full_user() -> user_pb2.User:
    return user_pb2.User(
        id="1",
        name="Ann",
        email="ann@example.com",
        status=user_pb2.USER_STATUS_ACTIVE,
        role=user_pb2.ROLE_USER,
        profile=user_pb2.Profile(
            bio="bio", avatar_url="https://a.org", social_links=[user_pb2.SocialLink(platform="p", url="https://p.org")]
        ),
        tags=["a", "b"],
        metadata={"k": "v", "l": "w"},
        phone="+1 555",
        slack_id="U1",
    )


def changed(*paths: str, **given: Any) -> user_pb2.User:
    user = full_user()
    request = user_pb2.UpdateUserRequest(id="1", **given)
    request.update_mask.paths.extend(paths)
    fields.change_user(user, request)
    return user


def expected(clear: tuple[str, ...] = (), **given: Any) -> user_pb2.User:
    user = full_user()
    for name in clear:
        user.ClearField(name)
    user.MergeFrom(user_pb2.User(**given))
    return user


def test_only_the_named_fields_change() -> None:
    user = changed("name", name=" Bob ", email="other@example.com", tags=["z"])
    assert user == expected(name="Bob")


def test_lists_and_maps_are_replaced() -> None:
    user = changed("tags", "metadata", tags=["z"], metadata={"m": "x"})
    assert user == expected(("tags", "metadata"), tags=["z"], metadata={"m": "x"})


@pytest.mark.parametrize("path", ["profile", "tags", "metadata", "phone", "slack_id"])
def test_a_field_that_is_named_and_not_set_is_cleared(path: str) -> None:
    assert changed(path) == expected((path,))


def test_clearing_the_contact_that_is_not_set_leaves_the_other() -> None:
    assert changed("phone_number") == full_user()


@pytest.mark.parametrize("paths", [("phone_number", "slack_id"), ("slack_id", "phone_number"), ("phone_number",)])
def test_the_contact_that_is_set_replaces_the_other(paths: tuple[str, ...]) -> None:
    assert changed(*paths, phone_number="+1 777") == expected(("slack_id",), phone_number="+1 777")


def test_parts_of_the_profile_change_alone() -> None:
    user = changed(
        "profile.bio", "profile.social_links", profile=user_pb2.Profile(bio="new", avatar_url="https://b.org")
    )
    assert user.profile == user_pb2.Profile(bio="new", avatar_url="https://a.org")


def test_a_part_of_the_profile_makes_a_profile() -> None:
    user = user_pb2.User()
    request = user_pb2.UpdateUserRequest(profile=user_pb2.Profile(bio="new"))
    request.update_mask.paths.append("profile.bio")
    fields.change_user(user, request)
    assert user == user_pb2.User(profile=user_pb2.Profile(bio="new"))


def test_clearing_a_part_of_the_profile_makes_none() -> None:
    user = user_pb2.User()
    request = user_pb2.UpdateUserRequest()
    request.update_mask.paths.append("profile.bio")
    fields.change_user(user, request)
    assert not user.HasField("profile")


def test_an_empty_profile_is_a_profile() -> None:
    user = changed("profile", profile=user_pb2.Profile())
    assert user.HasField("profile")
    assert user.profile == user_pb2.Profile()


def test_without_a_mask_what_is_set_changes() -> None:
    user = changed(email="new@example.com", status=user_pb2.USER_STATUS_INACTIVE, phone_number="+1 777")
    assert user == expected(
        ("slack_id",), email="new@example.com", status=user_pb2.USER_STATUS_INACTIVE, phone_number="+1 777"
    )


def test_a_star_replaces_all() -> None:
    given = {"name": "Bob", "email": "bob@example.com", "status": 2, "role": 3, "tags": ["z"]}
    assert changed("name", "*", **given) == user_pb2.User(id="1", **given)


def test_a_path_counts_once() -> None:
    request = user_pb2.UpdateUserRequest()
    request.update_mask.paths.extend(["tags", "name", "tags"])
    assert fields.changed_paths(request) == ["tags", "name"]
    assert changed("tags", "tags", tags=["z"]).tags == ["z"]


def test_a_new_user_is_active_and_a_plain_user() -> None:
    user = fields.new_user(user_pb2.CreateUserRequest(name=" Ann ", email="ann@example.com", password="secret"))
    assert user == user_pb2.User(
        name="Ann", email="ann@example.com", status=user_pb2.USER_STATUS_ACTIVE, role=user_pb2.ROLE_USER
    )


def test_a_new_user_has_all_that_was_given() -> None:
    request = user_pb2.CreateUserRequest(
        name="Ann",
        email="ann@example.com",
        role=user_pb2.ROLE_ADMIN,
        profile=full_user().profile,
        tags=["a", "b"],
        metadata={"k": "v", "l": "w"},
        phone="+1 555",
        slack_id="U1",
    )
    assert fields.new_user(request) == expected(("id",), role=user_pb2.ROLE_ADMIN)
