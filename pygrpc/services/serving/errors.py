"""What keeps a server from starting."""


class StartError(Exception):
    """The server cannot start; the text is one sentence, without a period, that says why."""
