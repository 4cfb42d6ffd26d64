"""What stands for ``grpc.framework.foundation``."""

from pygrpc._framework.foundation import logging_pool as logging_pool
