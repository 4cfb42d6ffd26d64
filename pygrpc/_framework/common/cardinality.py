"""What stands for ``grpc.framework.common.cardinality``, which generated code of grpcio-tools 1.0 to 1.3 imports."""

import enum


class Cardinality(enum.Enum):
    """The four kinds of call."""

    UNARY_UNARY = "request-unary/response-unary"
    UNARY_STREAM = "request-unary/response-streaming"
    STREAM_UNARY = "request-streaming/response-unary"
    STREAM_STREAM = "request-streaming/response-streaming"
