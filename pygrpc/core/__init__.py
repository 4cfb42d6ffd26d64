"""The sans-IO core: everything that can be decided without waiting, with time as an argument."""
