"""What stands for ``grpc.framework.interfaces.face.utilities``.

Generated code of grpcio-tools 1.0 to 1.3 imports it; what it took from there was for the beta API only.
"""
