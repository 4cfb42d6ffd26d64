"""Every rule about what a request may hold. Each check returns the list of what is wrong, empty for a good request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from pygrpc.services.errors import Violation, check_text
from pygrpc.services.protos.user.v1 import user_pb2
from pygrpc.services.users import chat, fields, paging
from pygrpc.services.users.fields import UserFields


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest values that are accepted. Lengths are in characters.

    A user stays well below the 4 MiB that a gRPC client accepts in one message unless told otherwise.
    """

    id_length: int = 64
    name_length: int = 200
    # RFC 5321, section 4.5.3.1, with erratum 1690.
    email_length: int = 254
    password_length: int = 1024
    bio_length: int = 4000
    url_length: int = 2048
    social_links: int = 20
    label_length: int = 64
    tags: int = 50
    metadata_entries: int = 64
    metadata_value_length: int = 1024
    mask_paths: int = 50
    page_size: int = 1000
    offset: int = 1_000_000
    batch_size: int = 1000
    # In bytes of the requests; the response repeats them and has to stay below 4 MiB.
    batch_bytes: int = 2 * 1024 * 1024
    chat_content_length: int = 4096


_EMAIL = re.compile(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+")
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{1,30}[0-9]")


def check_id(user_id: str, limits: Limits, field: str = "id") -> list[Violation]:
    """Checks the id of a user. Whether there is such a user is the store's to say."""
    return list(check_text(field, user_id, limits.id_length))


def check_create(request: user_pb2.CreateUserRequest, limits: Limits) -> list[Violation]:
    """Checks a request to create a user."""
    found = [*_name("name", request, limits), *_email("email", request, limits)]
    found += check_text("password", request.password, limits.password_length, required=False, one_line=False)
    for path in fields.set_paths(request):
        if path not in ("name", "email"):
            found += _CHECKS[path](path, request, limits)
    return found


def check_update(request: user_pb2.UpdateUserRequest, limits: Limits) -> list[Violation]:
    """Checks a request to change a user: its mask, and the new values of the fields that the mask names."""
    found = check_id(request.id, limits)
    if len(request.update_mask.paths) > limits.mask_paths:
        return [*found, Violation("update_mask", f"must not have more than {limits.mask_paths} paths")]
    unknown = fields.unknown_paths(request)
    if unknown:
        return [*found, *(Violation("update_mask", f'"{_shortened(path)}" cannot be updated') for path in unknown)]
    paths = fields.changed_paths(request)
    if not paths:
        found.append(Violation("update_mask", "must name a field if none is set"))
    for path in paths:
        found += _CHECKS[path](path, request, limits)
    return found


def check_list(request: user_pb2.ListUsersRequest, limits: Limits) -> list[Violation]:
    """Checks a request for a page of users, page token included."""
    found = []
    if request.page_size < 0:
        found.append(Violation("page_size", "must not be negative"))
    if not 0 <= request.offset <= limits.offset:
        found.append(Violation("offset", f"must be from 0 to {limits.offset}"))
    if request.status_filter:
        found += _enum("status_filter", request.status_filter, user_pb2.UserStatus)
    if request.page_token:
        try:
            paging.decode_token(request.page_token, request.status_filter)
        except ValueError as error:
            found.append(Violation("page_token", str(error)))
    return found


def check_chat(message: user_pb2.ChatMessage, limits: Limits) -> list[Violation]:
    """Checks a message of a chat."""
    found = check_id(message.user_id, limits, "user_id")
    if message.user_id.casefold() == chat.SYSTEM:
        found.append(Violation("user_id", f'must not be "{chat.SYSTEM}", which is the server'))
    found += check_text("content", message.content, limits.chat_content_length, one_line=False)
    return found


def _enum(field: str, value: int, names: EnumTypeWrapper) -> Iterable[Violation]:
    if value == 0:
        yield Violation(field, "must be given")
    elif value not in names.values():
        yield Violation(field, f"must be one of {', '.join(names.keys()[1:])}")


def _url(field: str, value: str, limits: Limits) -> Iterable[Violation]:
    found = list(check_text(field, value, limits.url_length))
    if not found and not _is_web_address(value):
        found.append(Violation(field, "must be an http or https URL"))
    return found


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(map(str.isspace, value))


def _name(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    return check_text(field, request.name.strip(), limits.name_length)


def _email(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    found = list(check_text(field, request.email, limits.email_length))
    if not found and not _EMAIL.fullmatch(request.email):
        found.append(Violation(field, "must be an e-mail address such as name@example.com"))
    return found


def _status(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    assert isinstance(request, user_pb2.UpdateUserRequest)
    return _enum(field, request.status, user_pb2.UserStatus)


def _role(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    return _enum(field, request.role, user_pb2.Role)


def _bio(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    return check_text(field, request.profile.bio, limits.bio_length, required=False, one_line=False)


def _avatar_url(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    return _url(field, request.profile.avatar_url, limits) if request.profile.avatar_url else []


def _social_links(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    links = request.profile.social_links
    if len(links) > limits.social_links:
        yield Violation(field, f"must not have more than {limits.social_links} entries")
        return
    for index, link in enumerate(links):
        yield from check_text(f"{field}[{index}].platform", link.platform, limits.label_length)
        yield from _url(f"{field}[{index}].url", link.url, limits)


def _profile(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    for path in ("profile.bio", "profile.avatar_url", "profile.social_links"):
        yield from _CHECKS[path](path, request, limits)


def _tags(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    if len(request.tags) > limits.tags:
        yield Violation(field, f"must not have more than {limits.tags} entries")
        return
    seen = set()
    for index, tag in enumerate(request.tags):
        yield from check_text(f"{field}[{index}]", tag, limits.label_length)
        if tag in seen:
            yield Violation(f"{field}[{index}]", "must not repeat an earlier tag")
        seen.add(tag)


def _metadata(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    if len(request.metadata) > limits.metadata_entries:
        yield Violation(field, f"must not have more than {limits.metadata_entries} entries")
        return
    for key, value in sorted(request.metadata.items()):
        keys = list(check_text(field, key, limits.label_length))
        yield from (Violation(field, f"a key {violation.description}") for violation in keys)
        if not keys:
            length = limits.metadata_value_length
            yield from check_text(f'{field}["{key}"]', value, length, required=False, one_line=False)


def _phone(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    if request.HasField("phone") and not _PHONE.fullmatch(request.phone):
        yield Violation(field, "must be a phone number such as +44 20 7946 0000")


def _phone_number(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    if request.HasField("phone_number") and not _PHONE.fullmatch(request.phone_number):
        yield Violation(field, "must be a phone number such as +44 20 7946 0000")


def _slack_id(field: str, request: UserFields, limits: Limits) -> Iterable[Violation]:
    return check_text(field, request.slack_id, limits.label_length) if request.HasField("slack_id") else []


def _shortened(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "..."


_CHECKS: dict[str, Callable[[str, UserFields, Limits], Iterable[Violation]]] = {
    "name": _name,
    "email": _email,
    "status": _status,
    "role": _role,
    "profile": _profile,
    "profile.bio": _bio,
    "profile.avatar_url": _avatar_url,
    "profile.social_links": _social_links,
    "tags": _tags,
    "metadata": _metadata,
    "phone": _phone,
    "phone_number": _phone_number,
    "slack_id": _slack_id,
}
