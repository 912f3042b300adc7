"""Exceptions that mean something to the caller: the input is at fault, or the process was told to end."""


class InputError(ValueError):
    """A value, file or flag that the caller can put right.

    The message says what came, what was expected and what to do. The command line prints it on one line and ends with
    exit code 2; anything else that is raised is a defect of dipole and keeps its traceback.
    """


class Terminated(KeyboardInterrupt):
    """A run was told to end (SIGTERM), and has written where it stands."""
