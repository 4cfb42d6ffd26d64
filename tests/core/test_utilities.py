"""Small shared vocabulary: versions, errors, connectivity."""

import pytest

import pygrpc
from pygrpc._utilities import first_version_is_lower
from pygrpc._version import GRPC_API_VERSION, PYGRPC_VERSION
from pygrpc.connectivity import ChannelConnectivity
from pygrpc.errors import RpcError


@pytest.mark.parametrize(
    ("first", "second", "lower"),
    [
        ("1.66.0", "1.66.1", True),
        ("1.66.1", "1.66.0", False),
        ("1.66.0", "1.66.0", False),
        ("1.9.0", "1.10.0", True),
        # As in grpcio: what is behind the three numbers only counts by being there.
        ("1.66.0.dev1", "1.66.0", False),
        ("1.66.0", "1.66.0.dev1", True),
        ("1.66.0.dev0", "1.66.0.dev1", False),
        ("1.66.0rc1", "1.66.1", False),
        ("2.0.0", "1.99.99", False),
        ("1.65.9.dev0", "1.66.0", True),
    ],
)
def test_versions_are_compared(first: str, second: str, lower: bool) -> None:
    assert first_version_is_lower(first, second) is lower


def test_generated_code_takes_us_for_new_enough() -> None:
    assert pygrpc.__version__ == GRPC_API_VERSION
    assert pygrpc.PYGRPC_VERSION == PYGRPC_VERSION
    assert not first_version_is_lower(pygrpc.__version__, "1.85.1")


def test_states_of_a_channel() -> None:
    assert [state.value for state in ChannelConnectivity] == [
        (0, "idle"), (1, "connecting"), (2, "ready"), (3, "transient failure"), (4, "shutdown"),
    ]  # fmt: skip


def test_an_rpc_error_is_an_exception() -> None:
    assert issubclass(RpcError, Exception)
    assert pygrpc.RpcError is RpcError
