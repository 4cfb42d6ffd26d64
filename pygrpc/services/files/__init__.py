"""The file service: files of any size, in chunks, resumable (protos/file/v1/file.proto and protos/file/file.proto).

How the parts fit together:

    service      the RPCs of file.v1.FileService
    unversioned  the RPCs of file.FileService, over the same files
    callers      who makes a call, and what that one may do
    validation   every rule about what a request may hold, names of files above all
    paging       page tokens
    errors       what goes wrong, as a status with details
    uploads      the life of an upload: begun, interrupted, resumed, finished or given up
    downloads    the bytes of a file, checked
    catalog      what is known about files and uploads, in a database; schema has the tables
    opening      all of it, in one place
    storage      what the service needs of a place for bytes: folder is one on a local disk, s3 in an object store

A file on its way is a *part* in the storage and an upload in the catalog. When all has arrived and was checked, one
transaction of the catalog replaces the upload by a file while the part is renamed to a *blob*. Nothing is read but the
blobs of files in the catalog, so half a file is never seen. What a crash leaves behind is a part without its upload or
a blob without its file; Uploads.sweep removes both. Names that clients choose are kept in the catalog
only: parts and blobs have random names.
"""

from pygrpc.services.files.catalog import DatabaseCatalog
from pygrpc.services.files.folder import LocalFolder
from pygrpc.services.files.opening import OpenFiles, open_files
from pygrpc.services.files.service import FileService
from pygrpc.services.files.storage import Storage
from pygrpc.services.files.unversioned import UnversionedFileService
from pygrpc.services.files.uploads import Uploads
from pygrpc.services.files.validation import Limits

__all__ = [
    "DatabaseCatalog",
    "FileService",
    "Limits",
    "LocalFolder",
    "OpenFiles",
    "Storage",
    "UnversionedFileService",
    "Uploads",
    "open_files",
]
