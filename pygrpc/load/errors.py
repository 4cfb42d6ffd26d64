"""What keeps a load test from being run."""


class LoadError(Exception):
    """The load test could not be run; the text is a sentence that says why and what to do."""
