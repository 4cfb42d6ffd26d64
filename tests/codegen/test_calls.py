"""Generated modules at work, in calls over loopback; and what grpcio-tools writes, on this library."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import grpc.aio
import grpc.experimental
import pytest
from google.protobuf.empty_pb2 import Empty

import pygrpc
from pygrpc.codegen import Parameters, generate_files

PROTOS = Path(__file__).parent / "data" / "shop" / "protos"
NAMES = ["shop/v1/money.proto", "shop/v1/shop.proto"]
BOUND = 20


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in sys.path with the package ours_pygrpc, ours_grpc and theirs."""
    folder = tmp_path_factory.mktemp("calls")
    for module in ("pygrpc", "grpc"):
        parameters = Parameters(relative_imports=True, grpc_module=module)
        generate_files(NAMES, [PROTOS], folder / f"calls_ours_{module}", parameters)
    make_theirs(folder / "calls_theirs")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("calls_")]:
        del sys.modules[name]


def make_theirs(package: Path) -> None:
    """Runs grpcio-tools as its users do, and changes nothing but the import of grpc, and where the messages are."""
    (package / "shop" / "v1").mkdir(parents=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--grpc_python_out={package}", *NAMES]
    subprocess.run(command, check=True, timeout=60)
    module = package / "shop" / "v1" / "shop_pb2_grpc.py"
    text = module.read_text(encoding="utf-8")
    assert text.count("\nimport grpc\n") == 1
    text = text.replace("\nimport grpc\n", "\nimport pygrpc as grpc\n")
    # Its own protos have a method called None, which gives no Python in grpcio-tools.
    module.write_text(without_none(text).replace("from shop.v1", "from calls_ours_pygrpc.shop.v1"), encoding="utf-8")


def without_none(text: str) -> str:
    """Gives the method called None another name, where it is an attribute."""
    return text.replace("self.None ", "self.None_ ").replace("def None(", "def None_(").replace(".None,", ".None_,")


def load(name: str) -> tuple[ModuleType, ModuleType, ModuleType]:
    messages = "calls_ours_pygrpc" if name == "calls_theirs" else name
    return (
        importlib.import_module(f"{name}.shop.v1.shop_pb2_grpc"),
        importlib.import_module(f"{messages}.shop.v1.shop_pb2"),
        importlib.import_module(f"{messages}.shop.v1.money_pb2"),
    )


def aio_servicer(services: ModuleType, money: ModuleType) -> Any:
    class Shop(services.ShopServicer):  # type: ignore[name-defined, misc]
        async def Price(self, request: Any, context: Any) -> Any:
            return money.Money(cents=sum(line.price.cents for line in request.lines))

        async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
            for line in request.lines:
                yield line

        async def Import(self, request_iterator: AsyncIterator[Any], context: Any) -> Empty:
            count = len([order async for order in request_iterator])
            context.set_trailing_metadata((("count", str(count)),))
            return Empty()

        async def Haggle(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for offer in request_iterator:
                yield money.Money(cents=offer.cents + 1)

    return Shop()


@pytest.mark.parametrize(
    ("api", "name"),
    [(pygrpc, "calls_ours_pygrpc"), (grpc, "calls_ours_grpc"), (pygrpc, "calls_theirs")],
    ids=["ours on pygrpc", "ours on grpc", "theirs on pygrpc"],
)
@pytest.mark.usefixtures("packages")
async def test_asyncio(api: Any, name: str) -> None:
    services, shop, money = load(name)
    assert services.grpc is api
    server = api.aio.server()
    services.add_ShopServicer_to_server(aio_servicer(services, money), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await use_from_asyncio(api, f"127.0.0.1:{port}", services, shop, money)
    finally:
        await server.stop(None)


async def use_from_asyncio(api: Any, target: str, services: ModuleType, shop: ModuleType, money: ModuleType) -> None:
    async with asyncio.timeout(BOUND), api.aio.insecure_channel(target) as channel:
        stub = services.ShopStub(channel)
        order = shop.Order(lines=[{"article": "tea", "price": {"cents": 250}}, {"article": "pot"}])
        assert (await stub.Price(order)).cents == 250
        assert [line.article async for line in stub.Watch(order)] == ["tea", "pot"]
        call = stub.Import(iter([order, order]))
        assert await call == Empty()
        assert dict(await call.trailing_metadata())["count"] == "2"
        assert [offer.cents async for offer in stub.Haggle(iter([money.Money(cents=1)]))] == [2]
        with pytest.raises(api.RpcError) as caught:
            await stub.None_(Empty())
        assert caught.value.code() is api.StatusCode.UNIMPLEMENTED
        assert caught.value.details().endswith("Method not implemented!")


def sync_servicer(services: ModuleType, money: ModuleType) -> Any:
    class Shop(services.ShopServicer):  # type: ignore[name-defined, misc]
        def Price(self, request: Any, context: Any) -> Any:
            return money.Money(cents=sum(line.price.cents for line in request.lines))

        def Watch(self, request: Any, context: Any) -> Iterator[Any]:
            yield from request.lines

        def Import(self, request_iterator: Iterator[Any], context: Any) -> Empty:
            context.set_trailing_metadata((("count", str(len(list(request_iterator)))),))
            return Empty()

        def Haggle(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Any]:
            return (money.Money(cents=offer.cents + 1) for offer in request_iterator)

    return Shop()


@pytest.mark.parametrize(
    ("api", "name"),
    [
        (pygrpc, "calls_ours_pygrpc"),
        (grpc, "calls_ours_grpc"),
        (pygrpc, "calls_theirs"),
    ],
    ids=["ours on pygrpc", "ours on grpc", "theirs on pygrpc"],
)
@pytest.mark.usefixtures("packages")
def test_sync(api: Any, name: str) -> None:
    services, shop, money = load(name)
    with futures.ThreadPoolExecutor(max_workers=4) as pool:
        server = api.server(pool)
        services.add_ShopServicer_to_server(sync_servicer(services, money), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        target = f"127.0.0.1:{port}"
        order = shop.Order(lines=[{"article": "tea", "price": {"cents": 250}}, {"article": "pot"}])
        try:
            with api.insecure_channel(target) as channel:
                use_stub(services.ShopStub(channel), api, order, money)
            use_no_stub(services.Shop, target, order, money)
        finally:
            assert server.stop(None).wait(BOUND)


def use_stub(stub: Any, api: Any, order: Any, money: ModuleType) -> None:
    assert stub.Price(order, timeout=BOUND).cents == 250
    assert [line.article for line in stub.Watch(order, timeout=BOUND)] == ["tea", "pot"]
    answer, call = stub.Import.with_call(iter([order, order]), timeout=BOUND)
    assert answer == Empty()
    assert dict(call.trailing_metadata())["count"] == "2"
    assert [offer.cents for offer in stub.Haggle(iter([money.Money(cents=1)]), timeout=BOUND)] == [2]
    with pytest.raises(api.RpcError) as caught:
        stub.None_(Empty(), timeout=BOUND)
    assert caught.value.code() is api.StatusCode.UNIMPLEMENTED


def use_no_stub(shop: Any, target: str, order: Any, money: ModuleType) -> None:
    options: dict[str, Any] = {"insecure": True, "timeout": BOUND}

    with warnings.catch_warnings():
        # Each library says in its own way, and how often it likes, that this API is experimental.
        warnings.simplefilter("ignore")
        assert shop.Price(order, target, **options).cents == 250
        assert [line.article for line in shop.Watch(order, target, **options)] == ["tea", "pot"]
        assert shop.Import(iter([order]), target, **options) == Empty()
        offers = shop.Haggle(iter([money.Money(cents=1)]), target, **options)
        assert [offer.cents for offer in offers] == [2]


@pytest.mark.usefixtures("packages")
def test_the_names_and_signatures_are_those_of_grpcio_tools() -> None:
    ours, theirs = (load(name)[0] for name in ("calls_ours_pygrpc", "calls_theirs"))
    defined = {name for name, value in vars(theirs).items() if getattr(value, "__module__", "") == theirs.__name__}
    assert defined == {"ShopStub", "ShopServicer", "add_ShopServicer_to_server", "Shop"}
    assert signatures(ours, defined) == signatures(theirs, defined)


def signatures(module: ModuleType, names: set[str]) -> dict[str, inspect.Signature]:
    found = {}
    for name in names:
        value = getattr(module, name)
        if not isinstance(value, type):
            found[name] = inspect.signature(value)
            continue
        functions = inspect.getmembers(value, inspect.isfunction)
        found |= {f"{name}.{member}": inspect.signature(function) for member, function in functions}
    return found


@pytest.mark.usefixtures("packages")
def test_comments_become_docstrings() -> None:
    services = load("calls_ours_pygrpc")[0]
    for name in ("ShopStub", "ShopServicer", "Shop"):
        assert getattr(services, name).__doc__ == "Sells things."
    assert services.ShopServicer.Price.__doc__ == services.Shop.Price.__doc__ == "Says what an order costs."
    assert services.ShopServicer.Watch.__doc__ == "Serves Watch."
