"""The tables of the file catalog, the steps that bring an older one up to date, and what their rows mean."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, Column, MetaData, String, Table

metadata = MetaData()

files = Table(
    "files",
    metadata,
    Column("file_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("filename", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", String, nullable=False),
    Column("checksum", String, nullable=False),
    Column("visibility", BigInteger, nullable=False),
    # Microseconds since 1970-01-01 UTC.
    Column("uploaded_at", BigInteger, nullable=False),
    Column("blob", String, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("file_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("part", String, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("resumable", BigInteger, nullable=False),
    # Microseconds since 1970-01-01 UTC.
    Column("changed_at", BigInteger, nullable=False),
)

# Has one row: the name of the catalog, which no other one has.
identity = Table("file_catalog", metadata, Column("id", String, primary_key=True))

# Entry n brings a database from version n to version n + 1. Entries are never changed, only added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE files (
            file_id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            filename TEXT NOT NULL,
            size INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            checksum TEXT NOT NULL,
            visibility INTEGER NOT NULL,
            uploaded_at INTEGER NOT NULL,
            blob TEXT NOT NULL UNIQUE
        )
        """,
        """
        CREATE TABLE uploads (
            file_id TEXT NOT NULL PRIMARY KEY,
            owner TEXT NOT NULL,
            part TEXT NOT NULL UNIQUE,
            received INTEGER NOT NULL,
            resumable INTEGER NOT NULL,
            changed_at INTEGER NOT NULL
        )
        """,
        "CREATE INDEX files_by_owner ON files (owner, uploaded_at, file_id)",
        "CREATE INDEX files_by_upload ON files (uploaded_at, file_id)",
    ),
    ("CREATE TABLE file_catalog (id TEXT NOT NULL PRIMARY KEY)",),
)


class StoredFile(NamedTuple):
    """A file: whole, checked and durable.

    Attributes:
        uploaded_at: Microseconds since 1970-01-01 UTC.
        visibility: See file.v1.Visibility.
        blob: The name of its bytes in the storage.
    """

    file_id: str
    owner: str
    filename: str
    size: int
    content_type: str
    checksum: str
    visibility: int
    uploaded_at: int
    blob: str


class Upload(NamedTuple):
    """A file on its way.

    Attributes:
        part: The name of its bytes in the storage, and of the blob that they will be.
        received: So many bytes have been made durable.
        resumable: Whether it is kept when its call breaks off.
        changed_at: Microseconds since 1970-01-01 UTC.
    """

    file_id: str
    owner: str
    part: str
    received: int
    resumable: bool
    changed_at: int
