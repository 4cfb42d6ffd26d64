"""Bytes in an S3-compatible object store.

How the parts fit together:

    storage    a Storage in one bucket, and its blobs
    part       a part that is being written
    lease      who may write a part
    bucket     the requests that are needed, through botocore
    address    what the URL of a storage says

Below the prefix there are four kinds of objects:

    blobs/NAME             a blob
    parts/NAME/START       the bytes of a part from START on, a *segment* of some megabytes
    parts/NAME/lease       who writes the part, and until when
    catalog                whose storage this is

Bytes of an unfinished multipart upload can't be read, and a part that is resumed has to be read once, for its checksum.
So a part is kept in segments, which the store itself copies into a multipart upload of the blob in the end: the blob
is there when that is completed, and not before.
"""
