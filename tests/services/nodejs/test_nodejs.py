"""The three contracts without a version, from a client in another language: @grpc/grpc-js on Node.js.

npm installs that into pytest's cache folder, once for each version of package.json. Without Node.js, npm or its
registry the tests are left out, which the terminal summary says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from tests.services import servers
from tests.services.program import ROOT, serving

HERE = Path(__file__).parent
#: Seconds for npm, and for all calls of the client together.
BOUND = 300.0
UNREACHABLE = re.compile(r"E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|HOSTUNREACH|NETUNREACH)|SOCKET_TIMEOUT")


@pytest.fixture(scope="module")
def packages(pytestconfig: pytest.Config) -> Path:
    """The folder of what package.json asks for."""
    npm = servers.program("npm", "npm")
    wanted = (HERE / "package.json").read_bytes()
    # The cache is not there when it is turned off.
    cache = getattr(pytestconfig, "cache", None)
    folder = Path(cache.mkdir("nodejs") if cache is not None else tempfile.mkdtemp())
    installed = folder / hashlib.sha256(wanted).hexdigest()[:16] / "node_modules"
    if not installed.exists():
        # Whole or not at all: runs that go on at the same time may share the folder.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            shutil.copy(HERE / "package.json", scratch)
            command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
            result = subprocess.run(
                [*command, "--fetch-retries=1"], cwd=scratch, capture_output=True, text=True, timeout=BOUND, check=False
            )
            if result.returncode and UNREACHABLE.search(result.stderr):
                servers.leave_out("the registry of npm can't be reached")
            assert result.returncode == 0, result.stderr
            installed.parent.mkdir(exist_ok=True)
            try:
                os.rename(Path(scratch, "node_modules"), installed)
            except OSError:
                assert installed.exists()
    return installed


@pytest.fixture(scope="module")
def seen(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of all calls of the client."""
    node = servers.program("node", "nodejs")
    folder = tmp_path_factory.mktemp("services")

    async def run() -> bytes:
        async with serving(folder / "services.db", "--files", folder / "files") as server:
            client = await asyncio.create_subprocess_exec(
                node,
                str(HERE / "client.js"),
                server.address,
                str(ROOT / "protos"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "NODE_PATH": str(packages)},
            )
            try:
                output, errors = await asyncio.wait_for(client.communicate(), BOUND)
            finally:
                if client.returncode is None:
                    client.kill()
                    await client.wait()
            assert client.returncode == 0, errors.decode()
            return output

    found: dict[str, Any] = json.loads(asyncio.run(run()))
    return found


@pytest.fixture
def user(seen: dict[str, Any]) -> dict[str, Any]:
    return dict(seen["user"])


@pytest.fixture
def chat(seen: dict[str, Any]) -> dict[str, Any]:
    return dict(seen["chat"])


@pytest.fixture
def file(seen: dict[str, Any]) -> dict[str, Any]:
    return dict(seen["file"])


def failed(outcome: dict[str, Any]) -> tuple[str, str]:
    """Returns code and text of a call that failed, and checks that its details say the same."""
    error = outcome["error"]
    status = Status.FromString(base64.b64decode(error["status"]))
    assert status.message == error["message"]
    assert any(detail.Is(kind.DESCRIPTOR) for detail in status.details for kind in (ErrorInfo, BadRequest))
    return error["code"], error["message"]


def test_a_user_is_created_found_changed_and_removed(user: dict[str, Any]) -> None:
    ann = user["created"]["response"]
    assert (ann["id"], ann["name"], ann["email"]) == (1, "Ann", "ann@example.com")
    assert ann["created_at"] == ann["updated_at"] and int(ann["created_at"]) > 1_700_000_000_000
    assert user["got"] == user["created"]
    anna = user["updated"]["response"]
    assert (anna["id"], anna["name"], anna["email"]) == (1, "Anna", "anna@example.com")
    assert int(anna["updated_at"]) >= int(ann["updated_at"])
    assert user["deleted"]["response"] == {"success": True, "message": "User 1 deleted successfully"}


def test_errors_about_users(user: dict[str, Any]) -> None:
    assert list(user["unknown"]) == ["getUser", "updateUser", "deleteUser", "watchUser"]
    for outcome in user["unknown"].values():
        assert failed(outcome) == ("NOT_FOUND", "User with ID 999 not found")
    assert failed(user["zero"]) == ("INVALID_ARGUMENT", "Valid user ID is required")
    assert failed(user["taken"]) == ("ALREADY_EXISTS", "Email already exists")
    assert {name: failed(outcome) for name, outcome in user["refused"].items()} == {
        "nothing": ("INVALID_ARGUMENT", "Name and email are required"),
        "name": ("INVALID_ARGUMENT", "Name and email are required"),
        "email": ("INVALID_ARGUMENT", "Name and email are required"),
        "blank": ("INVALID_ARGUMENT", "Name is required and cannot be empty"),
        "address": ("INVALID_ARGUMENT", "Valid email is required"),
    }


def test_streams_of_users(user: dict[str, Any]) -> None:
    assert user["batch"]["response"] == {
        "created_count": 2,
        "user_ids": [2, 3],
        "errors": [
            'Invalid user data: name="", email="nobody@example.com"',
            "Email already exists: anna@example.com",
        ],
    }
    assert ([each["id"] for each in user["listed"]["items"]], user["listed"]["code"]) == ([2, 3], "OK")
    assert ([each["name"] for each in user["all"]["items"]], user["all"]["code"]) == (["Anna", "Bob", "Cid"], "OK")
    events = [(event["event_type"], event["user"]["name"]) for event in user["watched"]["events"]]
    assert events == [("initial", "Anna"), ("updated", "Annette"), ("deleted", "Annette")]
    assert user["watched"]["code"] == "OK"


def test_deadlines_and_cancellation(user: dict[str, Any], chat: dict[str, Any]) -> None:
    assert user["late"]["error"]["code"] == "DEADLINE_EXCEEDED"
    assert user["cancelled"]["error"]["code"] == "CANCELLED"
    assert user["cancelledUnary"]["code"] == "CANCELLED"
    assert chat["cancelled"]["error"]["code"] == "CANCELLED"


def test_users_chat(user: dict[str, Any]) -> None:
    def said(messages: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
        assert all(int(message["timestamp"]) > 1_700_000_000_000 for message in messages)
        return [(message["user_id"], message["username"], message["message"]) for message in messages]

    assert said(user["welcomes"]) == [(0, "System", "Welcome to the chat!")] * 2
    assert said(user["heard"]) == [(1, "Ann", "Hello everyone!")]
    assert said(user["answered"]) == [(2, "Bob", "Hello Ann!")]
    assert user["left"] == [{"items": [], "code": "OK"}] * 2


def test_a_compressed_request(user: dict[str, Any]) -> None:
    assert user["compressed"]["response"]["name"] == "x" * 200


def test_a_room(chat: dict[str, Any]) -> None:
    room = chat["room"]["response"]
    assert (room["name"], room["description"], room["created_by"], room["member_count"]) == (
        "Demo", "Of Node.js", "ann", 0,
    )  # fmt: skip
    assert chat["rooms"]["response"] == {"rooms": [room | {"member_count": 2}], "total_count": 1}
    assert (chat["sent"]["response"]["success"], chat["left"]["response"]["success"]) == (True, True)

    def said(messages: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
        return [(message["username"], message["content"], message["type"]) for message in messages]

    came = ("System", "Ann joined the room", "USER_JOINED")
    second = ("System", "Bob joined the room", "USER_JOINED")
    hello = ("Ann", "Hello Bob!", "USER_MESSAGE")
    went = ("System", "Bob left the room", "USER_LEFT")
    assert (said(chat["heardByBob"]["items"]), chat["heardByBob"]["code"]) == ([came, hello], "OK")
    assert said(chat["heardByAnn"]) == [second, hello, went]
    history = chat["history"]["response"]
    assert (said(history["messages"]), history["has_more"]) == ([came, second, hello, went], False)


def test_errors_about_rooms(chat: dict[str, Any]) -> None:
    room_id = chat["room"]["response"]["room_id"]
    assert failed(chat["refused"]) == ("INVALID_ARGUMENT", "Room name and creator are required")
    assert list(chat["unknown"]) == ["joinRoom", "leaveRoom", "getRoomHistory"]
    for outcome in chat["unknown"].values():
        assert failed(outcome) == ("NOT_FOUND", "Room none not found")
    refused = {"message_id": "", "success": False}
    assert chat["stranger"]["response"] == refused | {"error": f"User cid not in room {room_id}"}
    assert chat["nowhere"]["response"] == refused | {"error": "Room none not found"}


def test_a_file_there_and_back(file: dict[str, Any]) -> None:
    stored = file["uploaded"]["response"]
    assert (stored["success"], stored["message"]) == (True, "Upload completed successfully")
    assert (stored["total_size"], stored["checksum"]) == (str(2 * 65536 + 1000), file["checksum"])
    info = file["info"]["response"]
    assert (info["filename"], info["size"], info["uploaded_by"]) == ("numbers.bin", stored["total_size"], "ann")
    assert file["listed"]["response"] == {"files": [info], "total_count": 1}
    assert (file["downloaded"]["same"], file["downloaded"]["code"]) == (True, "OK")
    chunks = file["downloaded"]["chunks"]
    assert [(chunk["chunk_number"], chunk["total_chunks"], chunk["size"]) for chunk in chunks] == [
        ("1", "3", 65536), ("2", "3", 65536), ("3", "3", 1000),
    ]  # fmt: skip
    assert [chunk["checksum"] for chunk in chunks] == ["", "", file["checksum"]]
    assert file["deleted"]["response"] == {"success": True, "message": "File deleted successfully"}


def test_errors_about_files(file: dict[str, Any]) -> None:
    file_id = file["uploaded"]["response"]["file_id"]
    assert failed(file["damaged"]) == ("DATA_LOSS", "Checksum verification failed")
    assert failed(file["unnamed"]) == ("INVALID_ARGUMENT", "filename must not be empty")
    # The caller is known by the metadata.
    assert failed(file["foreign"]) == ("PERMISSION_DENIED", "Permission denied")
    assert list(file["unknown"]) == ["getFileInfo", "deleteFile", "downloadFile"]
    for outcome in file["unknown"].values():
        assert failed(outcome) == ("NOT_FOUND", f"File {file_id} not found")
