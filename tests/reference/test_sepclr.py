"""SepCLR's losses against the authors' code and independent loops, key by key."""

from dipole.losses.sepclr import (
    alignment_loss,
    disentangled_sepclr_loss,
    joint_entropy_loss,
    kernel_entropy,
    kernel_mutual_information,
    sepclr_loss,
    uniformity_loss,
)
from reference.cases import Case, parametrize

KINDS = {"disentangled": "in.attributes", "objective": "in.salient2", "blocks": "in.x"}
PARTS = ("loss", "common_align", "common_unif", "salient_align", "salient_unif", "infoless", "jem")


@parametrize("sepclr", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_objective(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("common1", "common2", "salient1", "salient2")}
    found = sepclr_loss(
        *leaves.values(),
        case["in.labels"],
        salient_weight=case.params["salient_weight"],
        information_weight=case.params["reg_weight"],
        leakage_weight=case.params["jem_weight"],
        uniformity_weight=case.params["uniformity_weight"],
        tau=case.params["tau"],
    )
    for key, value in zip(PARTS, found, strict=True):
        case.check(f"out.{key}", value)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", found.loss, leaf)


def check_blocks(case: Case) -> None:
    x, y, s, tau = case.leaf("in.x"), case.leaf("in.y"), case.leaf("in.s"), case.params["tau"]
    align = alignment_loss(x, y, alpha=case.params["alpha"], tau=tau)
    case.check("out.align", align)
    case.check_gradient("grad.align_x", align, x)
    case.check_gradient("grad.align_y", align, y)
    uniform = uniformity_loss(x, tau=tau)
    case.check("out.uniform", uniform)
    case.check_gradient("grad.uniform_x", uniform, x)
    joint = joint_entropy_loss(x, s, tau=tau)
    case.check("out.joint_entropy_loss", joint)
    case.check_gradient("grad.jem_x", joint, x)
    case.check_gradient("grad.jem_s", joint, s)
    case.check("out.kde_entropy_x", kernel_entropy(x, tau=tau))
    case.check("out.kde_entropy_s", kernel_entropy(s, tau=tau))
    case.check("out.kernel_mi", kernel_mutual_information(x, s, tau=tau))


def check_disentangled(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("common1", "common2", "salient")}
    found = disentangled_sepclr_loss(
        *leaves.values(),
        case["in.attributes"],
        case["in.labels"],
        salient_weight=case.params["salient_weight"],
        leakage_weight=case.params["jem_weight"],
        tau=case.params["tau"],
        attribute_tau=case.params["attr_tau"],
        discrete_scale=case.params["discrete_scale"],
    )
    for key, value in zip(("loss", "common", "salient", "jem"), found, strict=True):
        case.check(f"out.{key}", value)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", found.loss, leaf)


CHECKS = {"objective": check_objective, "blocks": check_blocks, "disentangled": check_disentangled}
