"""Random numbers that depend on a few whole numbers alone."""

import numpy as np
import torch


def keyed_generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator whose numbers are a pure function of a key, such as (seed, epoch).

    The numbers of the key are hashed together: (0, 1) and (1, 0) have nothing in common.

    Args:
        *key: 0 or more each.
        device: of the generator; devices differ in their numbers.

    Example:
        >>> first, again = keyed_generator(0, 2), keyed_generator(0, 2)
        >>> bool(torch.rand((), generator=first) == torch.rand((), generator=again))
        True
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))
