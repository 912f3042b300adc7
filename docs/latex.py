"""Formulas of docstrings, which a terminal shows in Unicode, as LaTeX for the site."""

import re
import unicodedata

GREEK = {
    letter: rf"\{unicodedata.name(letter).split()[-1].lower().replace('lamda', 'lambda')} "
    for letter in "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ"
}
GREEK |= {"Σ": r"\sum ", "Π": r"\prod ", "Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ", "Λ": r"\Lambda "}
GREEK |= {"Φ": r"\Phi ", "Ψ": r"\Psi ", "Ω": r"\Omega ", "Ξ": r"\Xi ", "ε": r"\varepsilon ", "φ": r"\varphi "}
SIGNS = {
    "·": r"\cdot ", "−": "-", "–": "-", "≠": r"\ne ", "∈": r"\in ", "∉": r"\notin ", "≤": r"\le ", "≥": r"\ge ",
    "∞": r"\infty ", "‖": r"\Vert ", "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⊙": r"\odot ", "∪": r"\cup ", "→": r"\to ", "∝": r"\propto ", "×": r"\times ", "…": r"\dots ", "½": r"\tfrac12 ",
    "∂": r"\partial ", "∇": r"\nabla ", "ℓ": r"\ell ", "|": r"\vert ", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&",
    "≈": r"\approx ", "∼": r"\sim ", "⊕": r"\oplus ", "ᵢ": "_{i}", "ⱼ": "_{j}", "<": r"\lt ", ">": r"\gt ", "#": r"\#",
}  # fmt: skip
ACCENTS = {"\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar", "\u0307": r"\dot"}
FUNCTIONS = {"log", "exp", "max", "min", "cos", "det", "arg"}
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᵃᵇᶜʰⁱᵏⁿ", "0123456789+-Tabchikn", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
MATHEMATICAL = re.compile(r"[ΣΠ‖⟨⟩∈∉∞≤≥≠√½⊙∝·−⁺⁻ᵀ₀-₉²αβγδεκλμνπρστφΩθ]")
SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")
# What a subscript without braces goes on for.
RUN = re.compile(r"<?(?:[^\W_]\u0302?|[′'])+(?:,[a-z](?!\w))?(?:\([^\W\d_]\)|\[[^\W\d_]\])?")
PLAIN = re.compile(r"[A-Za-z]{2,}(?:[ -][A-Za-z]{2,}|_[A-Za-z]{3,}(?![A-Za-z0-9]))*")
INDICES = re.compile(r"[a-zA-Z]{2,3}")  # several one after the other, as in s_ij
TWICE = re.compile(r"_\{([^{}]*)\}_\{([^{}]*)\}")


def latex(formula: str) -> str:
    """Return a formula in LaTeX.

    Args:
        formula: one line, as docstrings write it: `_` and `^` take what follows them or stands in braces.

    Example:
        >>> latex("ℓ_i = −s_i⁺ / τ + log Σ_{j≠i} exp(s_ij / τ)")
        '\\\\ell _{i} = -s_{i}^{+} / \\\\tau  + \\\\log  \\\\sum _{j\\\\ne i} \\\\exp (s_{ij} / \\\\tau )'
    """
    text = unicodedata.normalize("NFD", formula.replace("≠", "\ue000").replace("∉", "\ue001"))
    return _set(text.replace("\ue000", "≠").replace("\ue001", "∉"))


def _set(text: str) -> str:
    """LaTeX of decomposed Unicode."""
    out, at = [], 0
    while at < len(text):
        letter = text[at]
        if letter in "_^":
            inner, at = _argument(text, at + 1)
            out.append(f"{letter}{{{inner if INDICES.fullmatch(inner) else _set(inner)}}}")
        elif letter in RAISED or letter in LOWERED:
            kind, signs = ("^", RAISED) if letter in RAISED else ("_", LOWERED)
            end = at
            while end < len(text) and text[end] in signs:
                end += 1
            out.append(f"{kind}{{{''.join(signs[each] for each in text[at:end])}}}")
            at = end
        elif letter == "√":
            inner, at = _argument(text, at + 1)
            while text[at : at + 1] in ("_", "^"):  # √D_i is the root of D_i
                sign = text[at]
                below, at = _argument(text, at + 1)
                inner += f"{sign}{{{below}}}"
            out.append(rf"\sqrt{{{_set(inner)}}}")
        elif letter == "`" and "`" in text[at + 1 :]:
            end = text.index("`", at + 1)
            out.append(rf"\texttt{{{text[at + 1 : end].replace('_', chr(92) + '_')}}}")
            at = end + 1
        elif found := PLAIN.match(text, at):
            out.append(_word(found.group()))
            at = found.end()
        elif at + 1 < len(text) and text[at + 1] in ACCENTS:
            out.append(f"{ACCENTS[text[at + 1]]}{{{GREEK.get(letter, letter)}}}")
            at += 2
        elif text.startswith("  ", at):
            while at < len(text) and text[at] == " ":
                at += 1
            out.append(r" \quad ")
        else:
            out.append(GREEK.get(letter) or SIGNS.get(letter, letter))
            at += 1
    return TWICE.sub(r"_{\1,\2}", "".join(out))


def _word(words: str) -> str:
    """The name of a function, or words as such."""
    if words in FUNCTIONS:
        return rf"\{words} "
    first, _, rest = words.partition(" ")
    if first in FUNCTIONS:
        return rf"\{first} {_word(rest)}"
    return rf"\text{{{words.replace('_', chr(92) + '_')}}}"


def _argument(text: str, at: int) -> tuple[str, int]:
    """What `_`, `^` or `√` takes from here on, without its braces, and where it ends."""
    if at < len(text) and text[at] in "{(":
        close = {"{": "}", "(": ")"}[text[at]]
        depth = 0
        for end in range(at, len(text)):
            depth += (text[end] == text[at]) - (text[end] == close)
            if depth == 0:
                return text[at + 1 : end], end + 1
    found = re.compile(r"[-−]?" + RUN.pattern).match(text, at)
    return (text[at:at], at) if found is None else (found.group(), found.end())


def typeset(docstring: str) -> str:
    """Return a docstring whose formulas, indented lines and code spans with mathematical signs, are LaTeX.

    Examples, code and the names of arguments stay as they are.

    Args:
        docstring: without the indentation of its source.

    Example:
        >>> typeset("Compute `−log g_i`.")
        'Compute \\\\(-\\\\log  g_{i}\\\\).'
    """
    lines, out, at = docstring.split("\n"), [], 0
    while at < len(lines):
        end = at
        if lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
        block = [line.strip() for line in lines[at:end]]
        if block and MATHEMATICAL.search("".join(block)) and not any(">>>" in line for line in block):
            rows = r" \\ ".join(rf"& {latex(line)}" for line in block)
            out += ["$$", rf"\begin{{aligned}} {rows} \end{{aligned}}", "$$"]
            at = end
        else:
            out.append(lines[at])
            at += 1
    head, mark, rest = "\n".join(out).partition("\nExample")
    return SPAN.sub(_span, head) + mark + rest


def _span(found: re.Match[str]) -> str:
    """A code span, as a formula if it is one."""
    text = " ".join(found.group(1).split())
    code = re.search(r"\w=\S|\"|--|\w\.\w|^\w+$", text)
    return found.group() if code or not MATHEMATICAL.search(text) else rf"\({latex(text)}\)"
