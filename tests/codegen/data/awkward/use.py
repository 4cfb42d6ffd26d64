"""Uses what protos with awkward names give; mypy must find nothing."""

from collections.abc import Iterable, Iterator
from typing import Any, assert_type

import app.protos.awk.git.hub.x.y_pb2_grpc as clashes
import app.protos.awk.my_dir.b.c_d_pb2_grpc as imports
import app.protos.awk.second.same_pb2_grpc as second
import app.protos.awk_bare_pb2_grpc as bare
from app.protos.awk.first.same_pb2 import Request as FirstRequest
from app.protos.awk.git.hub.x.y_pb2 import Y
from app.protos.awk.my_dir.b.c_d_pb2 import B
from app.protos.awk.second.same_pb2 import Request as SecondRequest
from app.protos.awk_bare_pb2 import A, AwkBare, Request
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue


def call(bare_stub: bare.AwkBareServiceStub, imports_stub: imports.ImportsStub, a: A) -> None:
    for answer in bare_stub.Same(Request()):
        assert_type(answer, AwkBare)
    foreign: Any = imports_stub.Foreign(B())
    bare_stub.Get(AwkBare(a=foreign))
    for inner in imports_stub.Nested(a):
        assert_type(inner, Y.Inner)
    assert_type(imports_stub.WellKnown(Empty()), AnyMessage)
    words: Iterable[StringValue] = []
    assert_type(imports_stub.Wrapped(iter(words)), Struct)


def call_clashing(grpc: clashes.grpcStub, a: clashes.AStub, a_async: clashes.AAsyncStub, same: second.SameStub) -> None:
    assert_type(grpc.grpc(Y()), Y)
    assert_type(grpc.staticmethod(Y()), Y)
    assert_type(grpc.str(Y()), Y)
    assert_type(clashes.grpc_.float(Y.Inner(), "localhost:1"), Iterator[Y.Inner])
    assert_type(clashes.AStub_.Get(Y(), "localhost:1"), Y)
    assert_type(a.Get(Y()), Y)
    assert_type(a_async.Get(Y()), Y)
    assert_type(same.Get(SecondRequest()), FirstRequest)


async def call_from_asyncio(a: clashes.AAsyncStub_) -> None:
    assert_type(await a.Get(Y()), Y)
