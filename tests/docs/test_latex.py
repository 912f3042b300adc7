import inspect
import re

import pytest
from latex import latex, typeset

import dipole.losses
import dipole.ops

EXPORTED = [(module, name) for module in (dipole.losses, dipole.ops) for name in module.__all__]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("w⁻ = softmax(−t⁻ d²)", r"w^{-} = \text{softmax}(-t^{-} d^{2})"),
        ("‖x_i − y_i‖^α / 2τ", r"\Vert x_{i} - y_{i}\Vert ^{\alpha } / 2\tau "),
        ("n̂_j, z̄ ≠ y₁ᵢ, √D_i", r"\hat{n}_{j}, \bar{z} \ne  y_{1,i}, \sqrt{D_{i}}"),
        ("log_weight_ij + λ_same", r"\text{log\_weight}_{ij} + \lambda _{\text{same}}"),
        ("Σ_{t∉U} `f_of` (a),  k", r"\sum _{t\notin U} \texttt{f\_of} (a), \quad k"),
    ],
)
def test_formulas(formula: str, expected: str) -> None:
    assert latex(formula) == expected


def test_formulas_of_losses_and_operations_are_set() -> None:
    found = []
    for module, name in EXPORTED:
        text = typeset(inspect.getdoc(getattr(module, name)) or "")
        for block, span in re.findall(r"\$\$\n(.*?)\n\$\$|\\\((.*?)\\\)", text, flags=re.DOTALL):
            found.append(block or span)
            plain = re.sub(r"\\[{}]", "", found[-1])
            assert plain.isascii(), (name, found[-1])
            assert plain.count("{") == plain.count("}"), (name, found[-1])
            assert not re.search(r"_\{[^{}]*\}_\{", plain), (name, found[-1])
    assert len(found) > 150


def test_code_and_examples_stay() -> None:
    text = "Set `a=−1` and `--flag −1`.\n\nExample:\n    >>> f(`−x_i`)\n"
    assert typeset(text) == text
