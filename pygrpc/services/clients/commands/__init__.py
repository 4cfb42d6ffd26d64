"""The commands `pygrpc users`, `pygrpc chat`, `pygrpc files` and `pygrpc orders`, on the clients of the services.

Each module has a function `main` from arguments to the exit status: 0 if all went well, 1 if not, 2 if the arguments
make no sense, 130 after Ctrl-C (of a chat or a watch, which that ends in the usual way, 0).
"""
