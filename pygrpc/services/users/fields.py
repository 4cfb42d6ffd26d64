"""Which fields of a user a request gives, and writing them into the user.

Update masks follow AIP-134: a field that is named and not set is cleared, "*" names all fields, and a request without a
mask changes the fields that it sets.
"""

from __future__ import annotations

from typing import TypeAlias

from pygrpc.services.protos.user.v1 import user_pb2

UserFields: TypeAlias = user_pb2.CreateUserRequest | user_pb2.UpdateUserRequest

EVERYTHING = "*"
_TOP_LEVEL = ("name", "email", "status", "role", "profile", "tags", "metadata", "phone", "phone_number", "slack_id")
_PROFILE = ("profile.bio", "profile.avatar_url", "profile.social_links")


def set_paths(request: UserFields) -> list[str]:
    """Returns the paths of the fields that a request sets, in the order of the message User."""
    given = {field.name for field, _ in request.ListFields()}
    return [path for path in _TOP_LEVEL if path in given]


def unknown_paths(request: user_pb2.UpdateUserRequest) -> list[str]:
    """Returns the paths of the update mask that name no field that can be changed."""
    return [path for path in request.update_mask.paths if path not in (EVERYTHING, *_TOP_LEVEL, *_PROFILE)]


def changed_paths(request: user_pb2.UpdateUserRequest) -> list[str]:
    """Returns the paths that a request changes, each one once."""
    paths = list(request.update_mask.paths)
    if not paths:
        return set_paths(request)
    if EVERYTHING in paths:
        return list(_TOP_LEVEL)
    return list(dict.fromkeys(paths))


def new_user(request: user_pb2.CreateUserRequest) -> user_pb2.User:
    """Returns the user that a checked request describes, without id and times."""
    user = user_pb2.User(status=user_pb2.USER_STATUS_ACTIVE, role=user_pb2.ROLE_USER)
    for path in set_paths(request):
        _write(user, request, path)
    return user


def change_user(user: user_pb2.User, request: user_pb2.UpdateUserRequest) -> None:
    """Writes the fields that a checked request changes into `user`."""
    # What is cleared goes first: of phone_number and slack_id the one that is set must stay, whatever the order.
    paths = changed_paths(request)
    for path in paths:
        _clear(user, path)
    for path in paths:
        _write(user, request, path)


def _clear(user: user_pb2.User, path: str) -> None:
    parent, _, name = path.rpartition(".")
    if not parent:
        user.ClearField(name)
    elif user.HasField("profile"):
        user.profile.ClearField(name)


def _write(user: user_pb2.User, request: UserFields, path: str) -> None:
    """Copies one field that is clear in `user`; one that is not set in the request stays clear."""
    parent, _, name = path.rpartition(".")
    value = getattr(request.profile if parent else request, name)
    if not value or (path == "profile" and not request.HasField("profile")):
        return
    target = user.profile if parent else user
    match name:
        case "name":
            user.name = value.strip()
        case "profile":
            user.profile.CopyFrom(value)
        case "tags" | "social_links":
            getattr(target, name).extend(value)
        case "metadata":
            user.metadata.update(value)
        case _:
            setattr(target, name, value)
