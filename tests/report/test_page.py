"""The content of the page."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.errors import InputError
from dipole.report import build_report


def plots(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_every_section_has_its_content(run_dir: Path, samples: dict[str, Any]) -> None:
    path = build_report(run_dir, method="DCL", data="digits", created=datetime(2026, 2, 1, 9, 5), **samples)
    page = path.read_text(encoding="utf-8")
    assert path == run_dir / "report.html"
    text = without_scripts(page)
    assert "<h1>DCL on digits</h1>" in text
    assert "1 February 2026, 09:05" in text
    assert "24 embeddings of 3 dimensions" in text
    assert '<th scope="row">temperature</th><td>0.1</td>' in text
    assert '<th scope="row">encoder.width</th><td>32</td>' in text
    assert "31.500" in text
    assert 'class="missing"' not in text.split("<noscript>")[0]
    data = plots(page)
    assert [curve["name"] for curve in data["curves"]] == ["loss", "knn", "sparse"]
    assert len(data["scores"]["positive"]["density"]) == 2
    main, other = data["map"]["factors"]
    assert main["name"] == "label"
    assert main["classes"] == ["cat", "dog", "owl"]
    assert main["values"][:4] == [0, 1, 2, 0]
    assert main["values"][23] is None
    assert other["classes"] == ["0", "1"]


def test_separated_groups_have_neighbours_of_their_own(run_dir: Path, samples: dict[str, Any]) -> None:
    samples["labels"] = {"label": torch.arange(24) % 3}
    text = build_report(run_dir, **samples, samples=6, neighbours=4).read_text(encoding="utf-8")
    assert "24 of 24 neighbours share the label" in text
    assert text.count('<figure class="match"') == 24
    assert text.count('<figure class="query"') == 6
    samples["labels"] = {"label": torch.arange(24) // 3 % 3}
    mixed = build_report(run_dir, **samples, samples=6, neighbours=4).read_text(encoding="utf-8")
    assert mixed.count('<figure class="other"') > 6


def test_it_needs_no_network(run_dir: Path, samples: dict[str, Any]) -> None:
    page = build_report(run_dir, **samples).read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|img|iframe|link)[^>]+(?:src|href)=[\"'](?!data:)", without_scripts(page))
    assert "<script src" not in page
    assert not re.findall(r"@import|url\((?!data:)", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_the_same_input_gives_the_same_page(run_dir: Path, samples: dict[str, Any]) -> None:
    moment = datetime(2026, 1, 1)
    first = build_report(run_dir, created=moment, **samples).read_bytes()
    assert build_report(run_dir, created=moment, **samples).read_bytes() == first


def test_an_empty_run_says_what_to_do(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    run.mkdir()
    text = without_scripts(build_report(run).read_text(encoding="utf-8"))
    assert "<h1>my run</h1>" in text
    assert "dipole evaluate &#39;" in text
    assert text.split("<noscript>")[0].count('class="missing"') == 6


def test_user_data_cannot_become_markup(run_dir: Path, samples: dict[str, Any]) -> None:
    evil = "</script><script>alert(1)</script><b onload='x'>"
    samples["class_names"] = {"label": (evil, evil, evil)}
    samples["ids"] = [evil] * 24
    (run_dir / "config.yaml").write_text(json.dumps({evil: {evil: evil}}))
    (run_dir / "metrics.csv").write_text(f'epoch,"{evil}"\n0,1\n')
    text = (run_dir / "evaluation.json").read_text().replace("raw pixels", evil)
    (run_dir / "evaluation.json").write_text(text)
    page = build_report(run_dir, method=evil, data=evil, **samples).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<b onload" not in page
    assert plots(page)["map"]["ids"][0] == evil


def test_collapsed_or_few_embeddings_leave_out_the_map(run_dir: Path, samples: dict[str, Any]) -> None:
    samples["embeddings"] = torch.ones(24, 3)
    page = build_report(run_dir, **samples).read_text(encoding="utf-8")
    assert "collapsed to one point" in page
    assert plots(page)["map"] is None
    one = build_report(run_dir, embeddings=torch.eye(1), images=samples["images"][:1])
    assert plots(one.read_text(encoding="utf-8"))["map"] is None


def test_embeddings_alone_are_enough_for_a_map(run_dir: Path, samples: dict[str, Any]) -> None:
    page = build_report(run_dir, embeddings=samples["embeddings"], points=10).read_text(encoding="utf-8")
    data = plots(page)["map"]
    assert len(data["x"]) == 10
    assert data["cells"] is None
    assert data["factors"] == []
    assert "built without images" in page


def test_the_page_of_1500_points_stays_below_8_megabytes(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise is the worst case of the thumbnails; where the points lie does not matter here.
    monkeypatch.setattr("dipole.report.page.plane", lambda x, seed: x[:, :2].double())
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1600, 3, 12, 12), generator=generator, dtype=torch.uint8)
    photographs = torch.nn.functional.interpolate(images.float(), size=48, mode="bilinear").byte()
    embeddings = torch.randn(1600, 8, generator=generator)
    path = build_report(run_dir, embeddings=embeddings, images=photographs, ids=["a" * 60] * 1600)
    assert path.stat().st_size < 8e6


def test_wrong_input_is_refused(run_dir: Path, samples: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is not a directory"):
        build_report(run_dir / "none")
    with pytest.raises(InputError, match="ids has 1 entries and embeddings 24"):
        build_report(run_dir, embeddings=samples["embeddings"], ids=["alone"])
    with pytest.raises(InputError, match="must be finite"):
        build_report(run_dir, embeddings=samples["embeddings"] / 0)
    (run_dir / "diagnostics.json").write_text('{"epochs": [{"epoch": 0}]}')
    with pytest.raises(InputError, match="not what GeometryMonitor writes"):
        build_report(run_dir)
    assert not (run_dir / "report.html").exists()


def test_texts_stand_where_images_would(run_dir: Path, samples: dict[str, Any]) -> None:
    texts = [f"sentence {index} " + "word " * 100 for index in range(24)]
    del samples["images"]
    page = build_report(run_dir, **samples, texts=texts).read_text()
    assert page.count('<tr class="query">') == 8
    assert "sentence 3 word" in page
    assert max(len(line) for line in page.splitlines() if '<th scope="row">sentence' in line) < 400
    assert "Point at a dot to read its text" in page
    with pytest.raises(InputError, match="texts has 23 entries"):
        build_report(run_dir, **samples, texts=texts[1:])
