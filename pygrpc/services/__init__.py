"""Services that show pygrpc at work, and the server that runs them (`python -m pygrpc.services`).

Everything here uses only the public API of pygrpc.
"""
