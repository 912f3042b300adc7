"""Run by torchrun: two processes with two loading processes each see every sample of 37 shards once an epoch."""

import sys

import torch
import torch.distributed as dist

from dipole.data.multimodal import ModalityDataModule, Reading


class Shown:
    """The texts of records, in place of views."""

    def __call__(self, records, tokenizer, *, generator):
        return {"number": torch.tensor([int(record["text"][0].split()[1]) for record in records])}


def main() -> None:
    dist.init_process_group("gloo")
    module = ModalityDataModule(
        sys.argv[1], reading=Reading(image_size=8), test_fraction=0, batch_size=5, num_workers=2, views=Shown()
    )
    count = len(module.train_set)
    loader = module.train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        seen = torch.cat([batch["views"]["number"] for batch in loader])
        parts = [torch.empty_like(seen) for _ in range(2)]
        dist.all_gather(parts, seen)
        orders.append(torch.stack(parts, dim=1).flatten())
        assert orders[-1].sort().values.tolist() == list(range(count)), "a sample twice, or none"
    assert not torch.equal(*orders)
    if dist.get_rank() == 0:
        print(f"all {count} samples once")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
