"""Search in any alphabet, by words, by embeddings and by both; ordered anew; written for trec_eval."""

import json
from pathlib import Path

import pytest

from dipole.cli import main
from dipole.data.text import MemoryTextSet, RetrievalSet
from dipole.data.text.words import words
from dipole.errors import InputError
from dipole.evaluation import bm25_run
from dipole.nn.text import new_bert
from dipole.runs.ranking import reciprocal_rank_fusion, write_trec_run
from dipole.runs.search import search

CORPORA = {
    "russian": (
        [
            "Крыло самолёта создаёт подъёмную силу.",
            "Кошка спит на тёплой крыше дома.",
            "Поезд прибывает на вокзал утром.",
            "Врач лечит больного в больнице.",
            "Учёные измеряют температуру звёзд.",
            "Повар готовит суп из свежих овощей.",
            "Дети играют в футбол во дворе.",
            "Музыкант настраивает старую скрипку.",
            "Река течёт через зелёную долину.",
            "Программист пишет код для компьютера.",
        ],
        [("подъёмная сила крыла: КРЫЛО самолёта", 0), ("где спит кошка", 1), ("скрипку настраивает кто", 7)],
    ),
    "chinese": (
        [
            "飞机的机翼产生升力",
            "猫在屋顶上睡觉",
            "火车早上到达车站",
            "医生在医院治疗病人",
            "科学家测量恒星的温度",
            "厨师用新鲜蔬菜做汤",
            "孩子们在院子里踢足球",
            "音乐家调试旧小提琴",
            "河流穿过绿色的山谷",
            "程序员为计算机写代码",
        ],
        [("机翼怎样产生升力", 0), ("谁治疗病人", 3), ("恒星温度", 4)],
    ),
    "arabic": (
        [
            "جناح الطائرة يولد قوة الرفع",
            "القطة تنام على سطح البيت",
            "القطار يصل إلى المحطة صباحا",
            "الطبيب يعالج المريض في المستشفى",
            "العلماء يقيسون حرارة النجوم",
            "الطباخ يعد حساء من الخضار",
            "الأطفال يلعبون كرة القدم في الفناء",
            "الموسيقي يضبط الكمان القديم",
            "النهر يجري في الوادي الأخضر",
            "المبرمج يكتب برنامجا للحاسوب",
        ],
        [("قُوَّةُ الرَّفْعِ", 0), ("من يعالج المريض", 3), ("حرارة النجوم", 4)],
    ),
}


def corpus(name: str, folder: Path) -> tuple[Path, Path]:
    texts = CORPORA[name][0]
    path = folder / f"{name}.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path, new_bert(texts, folder / f"{name}-bert", vocabulary=400, width=64, layers=1, heads=4, max_length=64)


@pytest.mark.parametrize("name", CORPORA)
def test_bm25_finds_the_right_one(name: str) -> None:
    texts, asked = CORPORA[name]
    task = RetrievalSet(
        name,
        MemoryTextSet(texts, ids=[str(number) for number in range(len(texts))]),
        {str(number): query for number, (query, _) in enumerate(asked)},
        {str(number): {str(place): 1} for number, (_, place) in enumerate(asked)},
    )
    run = bm25_run(task)
    assert [max(run[str(number)], key=run[str(number)].__getitem__) for number in range(len(asked))] == [
        str(place) for _, place in asked
    ]


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("hybrid", [False, True], ids=["embeddings", "hybrid"])
def test_search_finds_the_right_one(name: str, hybrid: bool, tmp_path: Path) -> None:
    path, encoder = corpus(name, tmp_path)
    texts, asked = CORPORA[name]
    # Whole sentences, as an encoder that has learned nothing knows no more than the pieces of words.
    queries = [texts[place] for _, place in asked] if not hybrid else [query for query, _ in asked]
    hits = search(encoder, str(path), queries, k=3, hybrid=hybrid, index=tmp_path / "index")
    assert [found[0].text for found in hits] == [texts[place] for _, place in asked]


def test_words_of_ascii_are_what_they_were() -> None:
    assert words("The WING of a jet-2, e.g. x_y") == ["the", "wing", "of", "a", "jet", "2", "e", "g", "x", "y"]
    assert words("") == words("… — !") == []
    assert words("naïve café") == ["naïve", "café"]
    assert words("สวัสดีครับ")[:2] == ["สวัสดีครับ"[:2], "สวัสดีครับ"[1:3]]
    assert words("機") == ["機"]


def test_ranks_are_put_together() -> None:
    assert reciprocal_rank_fusion([[1, 2], [2, 1]]) == [(1, 1 / 61 + 1 / 62), (2, 1 / 61 + 1 / 62)]
    with pytest.raises(InputError, match="constant is -1"):
        reciprocal_rank_fusion([[1]], constant=-1.0)


def test_queries_come_from_a_file_and_runs_go_to_one(tmp_path: Path) -> None:
    path, encoder = corpus("russian", tmp_path)
    queries = tmp_path / "queries.jsonl"
    asked = [{"_id": f"q{number}", "text": text} for number, text in enumerate(["кошка", "поезд"])]
    queries.write_text("".join(json.dumps(query) + "\n" for query in asked), encoding="utf-8")
    out = tmp_path / "run.trec"
    flags = ["--queries", str(queries), "--trec", str(out), "--k", "4", "--hybrid", "true"]
    assert main(["search", str(encoder), str(path), *flags, "--index", str(tmp_path / "index")]) == 0
    lines = [line.split() for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 8
    assert [(line[0], line[1], line[3], line[5]) for line in lines[:2]] == [
        ("q0", "Q0", "1", "dipole"),
        ("q0", "Q0", "2", "dipole"),
    ]
    assert lines[0][2] == "2"  # the second line of the file
    assert lines[4][2] == "3"


def test_a_cross_encoder_orders_anew(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    path, encoder = corpus("chinese", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes))
    model.save_pretrained(tmp_path / "cross")
    tokenizer.save_pretrained(tmp_path / "cross")
    options = {"k": 10, "index": tmp_path / "index"}
    plain = search(encoder, str(path), ["机翼"], **options)[0]
    anew = search(encoder, str(path), ["机翼"], rerank=str(tmp_path / "cross"), **options)[0]
    assert {hit.id for hit in anew} == {hit.id for hit in plain}
    assert [hit.score for hit in anew] == sorted((hit.score for hit in anew), reverse=True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give queries as texts, or a file of them"),
        (["кошка", "--queries", "q.txt"], "one of the two"),
        (["кошка", "--rerank", "nowhere/at/all"], "cannot open the cross-encoder"),
        (["кошка", "--trec", "."], "--trec . is a folder"),
    ],
)
def test_wrong_input_is_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path, encoder = corpus("russian", tmp_path)
    assert main(["search", str(encoder), str(path), *flags, "--index", str(tmp_path / "index")]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_ids_that_trec_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="white space"):
        write_trec_run(tmp_path / "run", [("a b", [("d", 1.0)])])
