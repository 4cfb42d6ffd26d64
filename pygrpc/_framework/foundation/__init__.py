"""What stands for ``grpc.framework.foundation``."""

from pygrpc._framework.foundation import callable_util as callable_util
from pygrpc._framework.foundation import future as future
from pygrpc._framework.foundation import logging_pool as logging_pool
