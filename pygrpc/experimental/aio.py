"""``grpc.aio`` under its old name, ``grpc.experimental.aio``: the very same module."""

import sys

from pygrpc import aio

# The import system takes what is in sys.modules behind this for the module ("Loading" in its documentation).
sys.modules[__name__] = aio
