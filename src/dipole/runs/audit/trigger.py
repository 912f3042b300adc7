"""A change within a budget that is optimised through a simulated contrastive training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dipole.data import ImageSet
from dipole.diagnostics.poisoning import TriggerGenerator, project_linf, trigger_loss
from dipole.methods.vision.simsiam import SimSiam
from dipole.runs.audit.images import LEVELS, Trigger


@dataclass(frozen=True)
class Search:
    """How a trigger is searched for. The paper does not publish these numbers.

    Args:
        rounds: N, each of which trains the surrogate and then the generator.
        inner_steps: K steps of the surrogate.
        outer_steps: J steps of the generator.
        restarts: how often the surrogate begins anew.
        width: channels of the generator's first layer.
        blocks: of the generator.
        batch_size: images in a step.
        learning_rate: of Adam, for both.
    """

    rounds: int = 60
    inner_steps: int = 10
    outer_steps: int = 1
    restarts: int = 5
    width: int = 64
    blocks: int = 6
    batch_size: int = 128
    learning_rate: float = 1e-3


def optimised_trigger(
    images: ImageSet,
    poisoned: Tensor,
    target: Tensor,
    surrogate: Callable[[int], SimSiam],
    views: nn.Module,
    *,
    budget: float,
    search: Search,
    seed: int,
    report: Callable[[], None] = lambda: None,
) -> Trigger:
    """Search for a change that brings any image near a class, after augmentation and after training on changed images.

    In turns, K steps of a SimSiam on data whose chosen images are changed, and J steps of the generator that maximise
    the cosine of changed images and images of the class, both augmented. The surrogate begins anew at times, so that
    the change works along the whole of a training.

    Sun et al.: *Backdoor Contrastive Learning via Bi-level Trigger Optimization* (ICLR 2024).

    Args:
        images: the clean training set.
        poisoned: (p,) images that will be changed.
        target: (c,) images of the class.
        surrogate: makes a SimSiam from a seed.
        views: differentiable views, `(images, generator) -> (2, n, 3, S, S)`.
        budget: ε.
        search: its length.
        seed: of everything that is drawn.
        report: called after each round.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = TriggerGenerator(width=search.width, blocks=search.blocks)
        draws = torch.Generator().manual_seed(seed)
        batches = _batches(len(images), search.batch_size, draws)
        chosen = torch.zeros(len(images), dtype=torch.bool)
        chosen[poisoned] = True
        outer = torch.optim.Adam(generator.parameters(), lr=search.learning_rate)
        every = max(1, search.rounds // max(1, search.restarts))
        for turn in range(search.rounds):
            if turn % every == 0:
                model = surrogate(seed + turn).train()
                inner = torch.optim.Adam(model.parameters(), lr=search.learning_rate)
            for _ in range(search.inner_steps):
                index = next(batches)
                batch = images.fetch(index).float() / LEVELS
                batch[chosen[index]] = _changed(generator, batch[chosen[index]], budget)
                inner.zero_grad()
                model.loss_terms({"views": views(batch, generator=draws), "index": index})["loss"].backward()
                inner.step()
            model.requires_grad_(False).eval()
            generator.train()
            for _ in range(search.outer_steps):
                index = next(batches)
                reference = target[torch.randint(len(target), (len(index),), generator=draws)]
                clean, wanted = (images.fetch(part).float() / LEVELS for part in (index, reference))
                changed = project_linf(generator(clean), clean, budget)
                first = views(changed, generator=draws)[0]
                second = views(wanted, generator=draws)[1]
                outer.zero_grad()
                trigger_loss(model.embed(first), model.embed(second)).backward()
                outer.step()
            model.requires_grad_(True).train()
            report()
    generator.eval().requires_grad_(False)
    return Trigger("optimised", generator, budget)


@torch.no_grad()
def _changed(generator: TriggerGenerator, images: Tensor, budget: float) -> Tensor:
    """Images as the generator makes them now."""
    if not len(images):
        return images
    made: Tensor = generator.eval()(images)
    return project_linf(made, images, budget)


def _batches(count: int, size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Shuffled batches without end."""
    while True:
        order = torch.randperm(count, generator=draws)
        for batch in order.split(min(size, count)):
            if len(batch) > 1:
                yield batch
