"""Where negatives come from: queues, memory banks, support sets."""

from dipole.negatives.queue import InstanceMemoryBank, Queue, nearest

__all__ = ["InstanceMemoryBank", "Queue", "nearest"]
