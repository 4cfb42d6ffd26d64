"""`pygrpc users`: creates, shows, changes, watches and imports users."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pygrpc.services.clients.commands.common import (
    CommandError,
    Commands,
    choices,
    code_name,
    complain,
    count,
    name_of,
    pair,
    plain,
    show,
)
from pygrpc.services.clients.commands.records import batches_of
from pygrpc.services.clients.errors import ServiceError
from pygrpc.services.clients.together import Clients
from pygrpc.services.protos.user.v1 import user_pb2

ROLES = choices(user_pb2.Role, "ROLE_")
STATUSES = choices(user_pb2.UserStatus, "USER_STATUS_")
#: Users that are stored together. A server takes more, but has to hash the password of each within the deadline.
_BATCH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `pygrpc users`; returns the exit status."""
    commands = Commands("users", "Creates, shows, changes, watches and imports the users of a server.")
    create = commands.add("create", "create a user", _create)
    create.add_argument("name")
    create.add_argument("email")
    create.add_argument(
        "--password-file", metavar="FILE", help="holds the password in its first line; - for standard input"
    )
    _profile_options(create)
    get = commands.add("get", "show a user", _get)
    get.add_argument("id")
    listing = commands.add("list", "list all users", _list)
    listing.add_argument("--status", choices=STATUSES, help="only users with this status")
    listing.add_argument("--limit", type=count, default=0, help="show no more than so many; 0 for all")
    update = commands.add("update", "change what is given of a user", _update)
    update.add_argument("id")
    update.add_argument("--name")
    update.add_argument("--email")
    update.add_argument("--status", choices=STATUSES)
    _profile_options(update)
    delete = commands.add("delete", "remove a user for good", _delete)
    delete.add_argument("id")
    watch = commands.add("watch", "show a user and all changes until the user is removed", _watch, interruptible=True)
    watch.add_argument("id")
    importing = commands.add("import", "create many users", _import)
    importing.add_argument(
        "file",
        help="a .csv file whose first line names fields of CreateUserRequest (name, email, role, ...), or a file with "
        "such a request as JSON on each line; - for JSON from standard input",
    )
    return commands.run(arguments)


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", choices=ROLES)
    parser.add_argument("--bio", help="text of the profile")
    parser.add_argument("--tag", action="append", dest="tags", metavar="TAG", help="repeatable")
    parser.add_argument(
        "--label",
        type=pair,
        action="append",
        dest="labels",
        metavar="KEY=VALUE",
        help="metadata of the user; repeatable",
    )
    parser.add_argument("--phone")


def _fill(given: argparse.Namespace, request: Any) -> list[str]:
    """Puts what is given into a request; returns the paths of an update mask."""
    paths = []
    for field, value in (
        ("name", given.name),
        ("email", given.email),
        ("role", given.role and ROLES[given.role]),
        ("status", getattr(given, "status", None) and STATUSES[given.status]),
        ("phone", given.phone),
    ):
        if value is not None:
            setattr(request, field, value)
            paths.append(field)
    if given.bio is not None:
        request.profile.bio = given.bio
        paths.append("profile.bio")
    if given.tags is not None:
        request.tags.extend(given.tags)
        paths.append("tags")
    if given.labels is not None:
        request.metadata.update(dict(given.labels))
        paths.append("metadata")
    return paths


async def _create(clients: Clients, given: argparse.Namespace) -> int:
    request = user_pb2.CreateUserRequest()
    _fill(given, request)
    if given.password_file:
        request.password = _first_line(given.password_file)
    show(given, await clients.users.create(request), in_words)
    return 0


async def _get(clients: Clients, given: argparse.Namespace) -> int:
    show(given, await clients.users.get(given.id), in_words)
    return 0


async def _list(clients: Clients, given: argparse.Namespace) -> int:
    shown = 0
    async for user in clients.users.list(STATUSES[given.status] if given.status else 0):
        show(given, user, in_words)
        shown += 1
        if shown == given.limit:
            break
    return 0


async def _update(clients: Clients, given: argparse.Namespace) -> int:
    request = user_pb2.UpdateUserRequest(id=given.id)
    paths = _fill(given, request)
    if not paths:
        raise CommandError("nothing to change was given")
    request.update_mask.paths.extend(paths)
    show(given, await clients.users.update(request), in_words)
    return 0


async def _delete(clients: Clients, given: argparse.Namespace) -> int:
    await clients.users.delete(given.id)
    return 0


async def _watch(clients: Clients, given: argparse.Namespace) -> int:
    def line(event: user_pb2.UserEvent) -> str:
        kind = name_of(user_pb2.UserEventType, "USER_EVENT_TYPE_", event.event_type)
        when = event.timestamp.ToDatetime().isoformat(" ", "seconds")
        return f"{when}Z  {kind:<8}  {in_words(event.user)}"

    async for event in clients.users.watch(given.id):
        show(given, event, line)
    return 0


async def _import(clients: Clients, given: argparse.Namespace) -> int:
    """Imports batch by batch, so that there may be any number of users."""
    failed = 0
    for batch in batches_of(given.file, user_pb2.CreateUserRequest, _BATCH, _adapt):
        try:
            response = await clients.users.create_many([request for _, request in batch])
        except ServiceError as error:
            raise CommandError(f"{batch[0][0]}: nothing is imported from here on: {error}") from error
        for user in response.users:
            show(given, user, in_words)
        for refused in response.errors:
            place, _ = batch[refused.index]
            complain(given, f"{place}: {plain(refused.message)} ({code_name(refused.code)})")
        failed += response.failure_count
    return 1 if failed else 0


def _adapt(row: dict[str, str]) -> None:
    if row.get("role", "").lower() in ROLES:
        row["role"] = f"ROLE_{row['role'].upper()}"


def _first_line(path: str) -> str:
    if path == "-":
        return sys.stdin.readline().rstrip("\n")
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def in_words(user: user_pb2.User) -> str:
    """Describes a user on one line."""
    role, status = name_of(user_pb2.Role, "ROLE_", user.role), name_of(user_pb2.UserStatus, "USER_STATUS_", user.status)
    tags = f"  [{', '.join(user.tags)}]" if user.tags else ""
    return f"{user.id}  {user.name} <{user.email}>  {status} {role}{tags}"
