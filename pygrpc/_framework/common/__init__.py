"""What stands for ``grpc.framework.common``."""

from pygrpc._framework.common import cardinality as cardinality
from pygrpc._framework.common import style as style
