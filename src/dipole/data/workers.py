"""What the processes that load batches do with signals."""

import signal


def outlive_termination(worker: int) -> None:
    """Ignore SIGTERM, which batch systems send to all processes of a job: the one that trains still wants a batch.

    When it has ended, its loading processes end by themselves.

    Args:
        worker: number of the process.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
