"""What reaches the loss: image, label and weight of a batch."""

import torch
from monai.data import MetaTensor

from bundle.training.batch import prepare_batch


def test_label_and_weight_travel_together():
    batch = {
        "image": MetaTensor(torch.rand(2, 1, 8, 8)),
        "label": torch.randint(0, 2, (2, 1, 4, 4)),
        "weight": torch.rand(2, 1, 4, 4) * 11,
    }
    image, target = prepare_batch(batch)
    assert type(image) is torch.Tensor
    assert torch.equal(target[:, :1].long(), batch["label"])
    assert torch.equal(target[:, 1:], batch["weight"])


def test_without_a_weight_the_label_stays_as_it_is():
    batch = {"image": torch.rand(1, 1, 8, 8), "label": torch.randint(0, 2, (1, 1, 4, 4))}
    assert torch.equal(prepare_batch(batch, device="cpu")[1], batch["label"])
