from tests.behaviour.parameters import pytest_configure, pytest_generate_tests, refusing_port

__all__ = ["pytest_configure", "pytest_generate_tests", "refusing_port"]
