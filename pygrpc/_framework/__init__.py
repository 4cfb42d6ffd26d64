"""What stands for ``grpc.framework``: of this older API, what programs still import.

The asyncio and sync APIs do without it: nothing here is raised or returned by a call.
"""

from pygrpc._framework import common as common
from pygrpc._framework import foundation as foundation
from pygrpc._framework import interfaces as interfaces
