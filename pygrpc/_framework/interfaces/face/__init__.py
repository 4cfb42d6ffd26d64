"""What stands for ``grpc.framework.interfaces.face``."""

from pygrpc._framework.interfaces.face import face as face
from pygrpc._framework.interfaces.face import utilities as utilities
