"""A module name of old versions of grpc. It has nothing in it: there is no event loop to choose here."""
