import base64
import io

import torch
from PIL import Image

from dipole.report import build_report
from dipole.report.cross_modal import Search, Shown


def test_searches_stand_where_neighbours_would(run_dir):
    image = torch.zeros(3, 60, 60, dtype=torch.uint8)
    image[0] = 255
    rows = (((Shown("<b>query</b>"),), (Shown("first", image, 0.75, True), Shown("second", None, 0.5, False))),)
    z = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    page = build_report(run_dir, embeddings=z, texts=["text"] * 20, searches=[Search("text → image", rows)]).read_text()
    assert "From one modality to another" in page
    assert "&lt;b&gt;query&lt;/b&gt;" in page
    assert "✓ 0.75" in page
    assert "✓ 0.50" not in page
    uri = rows[0][1][0].uri
    assert uri is not None
    assert uri in page
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert picture.size == (48, 48)
    assert picture.getpixel((5, 5)) == (255, 0, 0)
    assert "Nearest neighbours" not in page
