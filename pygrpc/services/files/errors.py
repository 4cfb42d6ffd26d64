"""What goes wrong in the file service, as the status of a call with details that a program can read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from google.rpc.error_details_pb2 import ErrorInfo, ResourceInfo

from pygrpc import StatusCode, aio
from pygrpc.services import errors
from pygrpc.services.errors import RequestError
from pygrpc.services.files.storage import PartBusy, StorageFull

DOMAIN = "file.v1.FileService"
_FILE_TYPE = "file.v1.FileInfo"


class Rejected(RequestError):
    """An upload that can never become a file: what has arrived is thrown away."""


def _info(reason: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)


def _resource(file_id: str, description: str) -> ResourceInfo:
    return ResourceInfo(resource_type=_FILE_TYPE, resource_name=file_id, description=description)


def file_missing(file_id: str) -> RequestError:
    """There is no file with this id."""
    details = _info("FILE_NOT_FOUND"), _resource(file_id, "does not exist")
    return RequestError(StatusCode.NOT_FOUND, f'there is no file "{file_id}"', *details)


def upload_missing(file_id: str) -> RequestError:
    """There is no unfinished upload with this id."""
    details = _info("UPLOAD_NOT_FOUND"), _resource(file_id, "is not being uploaded")
    return RequestError(StatusCode.NOT_FOUND, f'there is no upload "{file_id}"', *details)


def file_exists(file_id: str) -> RequestError:
    """There is a file with this id already."""
    details = _info("FILE_EXISTS"), _resource(file_id, "exists already")
    return RequestError(StatusCode.ALREADY_EXISTS, f'there is already a file "{file_id}"', *details)


def not_owner(file_id: str) -> RequestError:
    """The file or upload belongs to somebody else."""
    details = _info("NOT_OWNER"), _resource(file_id, "belongs to somebody else")
    return RequestError(StatusCode.PERMISSION_DENIED, f'"{file_id}" belongs to somebody else', *details)


def upload_busy() -> RequestError:
    """Another call sends the upload."""
    message = "another call is sending this upload at the moment"
    return RequestError(StatusCode.ABORTED, message, _info("UPLOAD_BUSY"))


def upload_idle(seconds: float) -> RequestError:
    """No message has come for too long."""
    message = f"no message of the upload came for {seconds:g} seconds"
    return RequestError(StatusCode.DEADLINE_EXCEEDED, message, _info("UPLOAD_IDLE"))


def offset_beyond_upload(received: int) -> RequestError:
    """An upload shall be resumed further than it has come."""
    message = f"{received} bytes of the upload are stored"
    return RequestError(StatusCode.OUT_OF_RANGE, message, _info("OFFSET_BEYOND_UPLOAD", received_size=str(received)))


def offset_beyond_file(size: int) -> RequestError:
    """A download shall begin behind the end of the file."""
    return RequestError(StatusCode.OUT_OF_RANGE, f"the file has {size} bytes", _info("OFFSET_BEYOND_FILE"))


def too_many_uploads(limit: int) -> RequestError:
    """No more uploads are taken for now."""
    message = f"there are {limit} unfinished uploads already: finish or cancel some"
    return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, _info("TOO_MANY_UPLOADS"))


def file_too_large(limit: int) -> Rejected:
    """The file is larger than any may be."""
    return Rejected(StatusCode.RESOURCE_EXHAUSTED, f"a file may have up to {limit} bytes", _info("FILE_TOO_LARGE"))


def size_mismatch(announced: int, received: int) -> Rejected:
    """More or fewer bytes have come than were announced."""
    message = f"{announced} bytes were announced, and {received} came"
    return Rejected(StatusCode.DATA_LOSS, message, _info("SIZE_MISMATCH"))


def chunks_missing(announced: int, received: int) -> Rejected:
    """Fewer chunks have come than were announced."""
    message = f"Missing chunks: expected {announced}, got {received}"
    return Rejected(StatusCode.DATA_LOSS, message, _info("CHUNKS_MISSING"))


def checksum_mismatch(announced: str, computed: str) -> Rejected:
    """Other bytes have come than were announced."""
    details = _info("CHECKSUM_MISMATCH", announced=announced, computed=computed)
    return Rejected(StatusCode.DATA_LOSS, "what came does not have the checksum that was announced", details)


def file_damaged() -> RequestError:
    """The stored bytes are not those that were uploaded."""
    message = "the stored bytes of the file are damaged"
    return RequestError(StatusCode.DATA_LOSS, message, _info("FILE_DAMAGED"))


def file_lost() -> RequestError:
    """There are no stored bytes although there is a file."""
    return RequestError(StatusCode.DATA_LOSS, "the stored bytes of the file are gone", _info("FILE_LOST"))


def translated(error: Exception) -> RequestError | None:
    """Returns the status of an error that the parts of the service raise, None if it is not one of theirs."""
    match error:
        case PartBusy():
            return upload_busy()
        case StorageFull():
            message = "the server has no more room for files"
            return RequestError(StatusCode.RESOURCE_EXHAUSTED, message, _info("STORAGE_FULL"))
        case _:
            return errors.common(error, DOMAIN, "file store")


def answering(context: aio.ServicerContext[Any, Any]) -> AbstractAsyncContextManager[None]:
    """Ends the call with the right status if the body raises one of the errors above."""
    return errors.answering(context, translated)
