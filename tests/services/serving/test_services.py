"""The table of services."""

from __future__ import annotations

from pathlib import Path

import pytest

from pygrpc.services.fanout import LocalFanout
from pygrpc.services.serving import Configuration, configuration
from pygrpc.services.serving.services import SERVICES, Shared


class Registered:
    """Takes what a server takes of generated code."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        pass

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        self.names.add(service)


def test_each_service_can_be_chosen() -> None:
    assert tuple(SERVICES) == configuration.SERVICES


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_registers_its_contracts_and_works(name: str, tmp_path: Path) -> None:
    settings = Configuration(database=str(tmp_path / "services.db"), files=str(tmp_path / "files"))
    async with SERVICES[name].open(Shared(settings, LocalFanout())) as opened:
        server = Registered()
        opened.add_to(server)  # type: ignore[arg-type]
        assert server.names == set(SERVICES[name].contracts)
        assert opened.needs
        for need in opened.needs:
            await need.check()
        opened.shut_down()
