"""The dossier: both languages, all evidence, no number where there is none, nothing loaded from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from chambit.core.errors import ChambitError
from chambit.core.evidence import Band, Control, Evidence, Interval, Verdict
from chambit.measure.descriptors import turned
from chambit.measure.plants import FAMILIES as FAMILIES_PLANTED
from chambit.pipeline import gallery
from chambit.pipeline.probing import FAMILIES as NEAR_DUPLICATES
from chambit.report import pictures, planted, wording
from chambit.report.dossier import RISK, Bundle, Pair, render
from chambit.review import policy

INDICATORS = wording.scheme()["indicators"]
KNOWN = wording.words()["evidence"]
FAMILIES = [
    {"family": "exact", "planted": 40, "found": 40, "recall": 1.0, "low": 0.912, "high": 1.0}
    | {"compulsory": True, "covered": True},
    {"family": "noise15", "planted": 40, "found": 14, "recall": 0.35, "low": 0.206, "high": 0.517}
    | {"compulsory": False, "covered": False, "kind": "same"},
]
DETAILS: dict[str, dict[str, object]] = {
    "downstream.loss": {
        "margin": 0.05,
        "arms": {
            "real": {"auroc": 0.951, "low": 0.938, "high": 0.962, "seeds": [0.948, 0.955]},
            "synthetic": {"auroc": 0.9328, "low": 0.916, "high": 0.947, "seeds": [0.925, 0.936]},
            "trivial": {"auroc": 0.9017, "low": 0.881, "high": 0.92, "seeds": [0.893]},
        },
    },
    "copies.flagged": {"expected": 1.0, "families": FAMILIES, "not_covered": ["noise15", "crops"]},
    "membership.p": {"ranks": [{"u": 10, "train": 6, "expected": 5.0}], "top": ["T", "H", "T"]},
}


def evidence(key: str, verdict: Verdict, value: float | None = 0.4321, **more: Any) -> Evidence:
    measure, quantity = key.split(".")
    given: dict[str, Any] = {
        "interval": Interval(low=0.4011, high=0.4777, level=0.95, method="bootstrap"),
        "n": {"images": 1234, "test subjects": 567},
        "null": 0.5,
        "direction": "lower",
        "band": Band(low=0.1, middle=0.2, high=0.3, draws=200, n=1000),
        "control": Control(name="plants", expected="0.9", observed="0.97", fired=True),
        "policy": f"policy line of {key}",
        "because": f"because of {key}",
        "details": DETAILS.get(key, {}),
    }
    if value is None:
        given |= {"interval": None, "band": None, "reason": f"reason of {key}"}
    return Evidence(measure=f"{measure}@1", quantity=quantity, value=value, verdict=verdict, **(given | more))


def full() -> tuple[Evidence, ...]:
    kinds = list(Verdict)
    rows = []
    for index, key in enumerate(KNOWN):
        verdict = kinds[index % len(kinds)]
        rows.append(evidence(key, verdict, None if verdict in (Verdict.NOT_RUN, Verdict.INVALID) else 0.4321))
    return (
        *rows,
        evidence("wholly.unknown", Verdict.CONDITIONAL, 7.25, unit="mm", condition="<i>close me</i>"),
    )


def bundle(**changes: Any) -> Bundle:
    png = pictures.contact_sheet(np.zeros((2, 8, 8), np.float32), None, 2, 1)
    given: dict[str, Any] = {
        "title": "Chest & <script>alert(1)</script>",
        "kind": "run",
        "produced": "2026-11-21",
        "version": "0.1.0",
        "attempt": 2,
        "attempts": 3,
        "phantom": True,
        "study_digest": "sha256:ab}</style>",
        "policy": {"name": "default", "version": "1", "digest": "sha256:cd"},
        "verdict": Verdict.FAIL,
        "because": ("copies.flagged", "gone.key"),
        "evidence": full(),
        "attached": {"purpose.text": "Research on <pneumonia>"},
        "counts": {"train": {"subjects": 1280, "images": 1290, "<b>x": 640}, "synthetic": {"images": 1000}},
        "refused": tuple({"file": f"f{i}", "reason": "cut short", "remedy": "again"} for i in range(57)),
        "proof": ("No patient is in two splits.",),
        "steps": ({"name": "train", "digest": "aa11", "outputs": "bb22", "seconds": "3.5"},),
        "facts": {"generator": "flow", "odd & fact": "1"},
        "pictures": {"real": png, "synthetic": png},
        "pairs": (Pair(synthetic_id="s1", real_id="r1", score=0.9, p=0.0004, flagged=True, picture=png),),
    }
    return Bundle(**(given | changes))


@pytest.fixture(scope="module")
def page() -> str:
    return render(bundle())


class Links(HTMLParser):
    """Every address a page would load or go to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def seen(html: str, side: str) -> str:
    """The text of one language, without tags, styles and scripts."""
    other = {"ko": "en", "en": "ko"}[side]
    html = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)
    html = re.sub(rf'<(span|text)[^>]*class="{other}\b[^>]*>.*?</\1>', "", html, flags=re.S)
    return re.sub(r"<[^>]+>", " ", html)


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.found
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links.found)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_input_is_escaped_everywhere(page: str) -> None:
    assert "&lt;b&gt;x" in page
    for raw in ("<b>x", "<script>alert", "<i>close me", "<pneumonia>", "ab}</style>"):
        assert raw not in page


def test_every_key_value_and_policy_line_is_there(page: str) -> None:
    for row in full():
        assert row.key in page
        assert f"policy line of {row.key}" in page
        if wording.measured(row):
            assert wording.value_text(row).ko in page
        elif row.verdict is Verdict.NOT_RUN:
            assert f"reason of {row.key}" in page
    assert "7.25 mm" in page


def test_both_languages_say_everything(page: str) -> None:
    korean, english = seen(page, "ko"), seen(page, "en")
    for row in full():
        name, says = wording.name_of(row.key), wording.sentence(row)
        assert name.ko in korean
        assert name.en in english
        assert re.sub(r"\s+", "", says.ko) in re.sub(r"\s+", "", korean)
        assert re.sub(r"\s+", "", says.en) in re.sub(r"\s+", "", english)
    assert not re.search("[가-힣]", english.replace("한국어", "").replace("합성 의료영상 심의 자료", ""))


def test_each_korean_text_has_an_english_one(page: str) -> None:
    assert len(re.findall(r'class="ko\b', page)) == len(re.findall(r'class="en\b', page))


@pytest.mark.parametrize("verdict", [Verdict.NOT_RUN, Verdict.INVALID])
@pytest.mark.parametrize("key", [*KNOWN, "wholly.unknown"])
def test_missing_is_never_a_number(key: str, verdict: Verdict) -> None:
    for value in (None, 0.0, 0.9876):
        row = evidence(key, verdict, value)
        assert not re.search(r"\d", wording.value_text(row).ko + wording.value_text(row).en)
        assert not re.search(r"\d", wording.sentence(row).ko + wording.sentence(row).en)


def test_not_run_is_as_loud_as_fail() -> None:
    css = (Path(wording.__file__).parent / "templates" / "style.html.j2").read_text(encoding="utf-8")
    assert ".badge.v-PASS" in css
    for loud in ("NOT_RUN", "INVALID", "FAIL"):
        assert f".badge.v-{loud}" not in css  # the solid badge is the rule; only a pass is drawn quietly


def test_same_bundle_same_bytes(page: str) -> None:
    assert render(bundle()) == page


def test_an_empty_bundle_comforts_nobody() -> None:
    bare = bundle(evidence=(), because=(), pictures={}, pairs=(), steps=(), counts={}, proof=(), refused=(), facts={})
    korean, english = seen(render(bare), "ko"), seen(render(bare), "en")
    assert english.count("no evidence") >= len(KNOWN) - 5
    assert korean.count("근거 없음") == english.count("no evidence")
    assert not re.search(r"\b0\.0+\b", english)


def test_every_verdict_renders_and_says_why() -> None:
    for verdict in Verdict:
        html = render(bundle(verdict=verdict, phantom=False, kind="audit"))
        assert wording.words()["verdicts"][verdict.value]["says"]["en"] in html
        assert "phantom-tag" not in html.split("</style>")[1]


def test_planted_families_stand_by_kind_and_what_is_not_covered_in_sentences(page: str) -> None:
    kinds = planted.by_kind([{**FAMILIES[1], "family": name, "kind": kind} for name, kind in (
        ("half", "part"), ("blur", "same"), ("odd", "new kind"), ("gamma_dark", "grey"))])  # fmt: skip
    assert [kind.name.en for kind in kinds] == ["The same picture", "Grey values", "Parts and blends", "Other kinds"]
    english = re.sub(r"\s+", " ", seen(page, "en").replace("\u00a0", " "))
    assert "14 of 40 planted copies were found; the share that is found may be as low as 20.6 %." in english
    assert "crops Not planted: whether one would have been found is not known." in english
    korean = re.sub(r"\s+", " ", seen(page, "ko").replace("\u00a0", " "))
    assert "심은 40장 가운데 찾은 것: 14장." in korean
    assert re.search(r"잡음 15 % 아니요 40 14 .*?20\.6 % 덮지 못함", korean)
    assert re.search(r"exact compulsory 40 40 .*?91\.2 % covered", english)


def test_every_kind_of_planted_copy_has_a_name() -> None:
    names = wording.words()["families"]
    assert [family for family in FAMILIES_PLANTED if family not in names] == []
    assert [family for family in NEAR_DUPLICATES if family not in names] == []
    not_planted = policy.load("default").settings["copies"]["not_planted"]
    assert [family for family in not_planted if family not in names] == []


def test_two_readers_can_fill_in_each_pair(page: str) -> None:
    assert page.count('type="radio" name="pair-1-1"') == page.count('type="radio" name="pair-1-2"') == 3
    assert page.count('class="ini"') == page.count('class="day"') == 2
    named = bundle().pairs[0].model_copy(update={"detector": "registered", "turn": 12})
    html = render(bundle(pairs=(named, named.model_copy(update={"flagged": False}))))
    assert "compared after alignment" in seen(html, "en")
    assert "mirrored, inverted" in seen(html, "en")
    assert "Flagged pairs" in seen(html, "en")
    assert "for comparison by eye" in seen(html, "en")


def test_every_piece_of_evidence_about_risk_is_mapped_or_named_as_unmapped(page: str) -> None:
    table = seen(page[page.index('<table class="maps">') :].split("</table>")[0], "en")
    for entry in INDICATORS:
        if entry["id"] in RISK:
            assert [key for key in entry["evidence"] if wording.name_of(key).en not in table] == []
    for framework in ("WP29 216", "EDPB 28/2024", "EMA/90915/2016", "PIPC"):
        assert framework in table


def test_a_page_with_real_patients_says_that_it_must_not_leave() -> None:
    assert "Contains original images" in render(bundle(phantom=False))
    assert "Contains original images" not in render(bundle(phantom=False, pairs=(), pictures={}))
    assert "Contains original images" not in render(bundle(phantom=True))


def test_one_sided_interval_prints_only_its_limit() -> None:
    one = Interval(low=-1, high=0.0314, level=0.95, method="bootstrap", sides=1)
    row = evidence("downstream.loss", Verdict.PASS, 0.018, interval=one)
    assert wording.interval_text(one, "difference", "lower") == ("95 % 상한 0.031", "95 % upper limit 0.031")
    assert "−1" not in render(bundle(evidence=(row,))).split("</style>")[1]


def test_refused_files_are_cut_at_fifty(page: str) -> None:
    assert "f49<" in page
    assert "f50<" not in page
    assert "and 7 more" in page


def test_korean_of_a_sentence_is_used_where_given() -> None:
    html = render(bundle(korean={"No patient is in two splits.": "두 묶음에 함께 든 환자가 없습니다."}))
    assert "두 묶음에 함께 든 환자가 없습니다." in seen(html, "ko")
    assert "No patient is in two splits." in seen(html, "en")


def test_auroc_is_never_called_accuracy(page: str) -> None:
    named = seen(page, "en").replace("reading.accuracy", "")  # readers' own, told by its key
    for english in re.split(r"[.;|]\s", named):
        if "accuracy" in english.lower():
            assert "AUROC" not in english


def test_every_word_has_both_languages() -> None:
    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            if {"ko", "en"} & set(node):
                assert None not in node.values(), where  # an unquoted comma has cut a sentence
                assert node.get("ko"), where
                assert node.get("en"), where
            for key, value in node.items():
                walk(value, f"{where}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{where}/{index}")

    walk(wording.words(), "words")
    walk(wording.scheme(), "scheme")
    walk(wording.references(), "references")
    for key, entry in KNOWN.items():
        assert set(entry) == {"form", "name", "reads", "says"}, key
        assert {"value", "missing"} <= set(entry["says"]), key


def test_indicators_name_only_known_evidence() -> None:
    named = [key for entry in INDICATORS for key in entry["evidence"]]
    mapped = [key for entry in INDICATORS for item in entry.get("maps", []) for key in item["evidence"]]
    assert set(named) == set(KNOWN)
    assert len(named) == len(set(named))
    assert set(mapped) <= set(KNOWN)
    assert [entry["id"] for entry in INDICATORS] == [1, 2, 3, 4, 5, 6]


def test_reference_numbers_stand_in_both_languages(page: str) -> None:
    korean, english = seen(page, "ko"), seen(page, "en")
    for entry in wording.references():
        for text, side in ((korean, "ko"), (english, "en")):
            assert entry["value"] in text
            assert entry["note"][side] in text
    assert {"0.45", "16.47", "0.05", "0.923", "0.853", "0.824"} <= {e["value"] for e in wording.references()}


def test_yaml_has_no_duplicate_keys() -> None:
    class Strict(yaml.SafeLoader):
        pass

    def unique(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return {loader.construct_object(k): loader.construct_object(v, deep=True) for k, v in node.value}

    Strict.add_constructor("tag:yaml.org,2002:map", unique)
    files = sorted((Path(wording.__file__).parent / "words").glob("*.yaml"))
    assert len(files) > 1
    for path in files:
        assert yaml.load(path.read_text(encoding="utf-8"), Strict)


def test_words_that_stand_in_two_files_are_an_error() -> None:
    twice = {"a.yaml": {"arms": {"real": 1}, "limits": [1]}, "b.yaml": {"arms": {"real": 2}, "limits": [1]}}
    with pytest.raises(ChambitError, match=r"given twice(.|\n)*b\.yaml: arms\.real(.|\n)*b\.yaml: limits"):
        wording.joined(twice)


def test_pictures_are_deterministic_and_of_the_right_size() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((5, 12, 10), dtype=np.float32)
    sheet = pictures.contact_sheet(images, ["a", "b", "c", "d", "마"], columns=3, scale=2)
    assert sheet == pictures.contact_sheet(images, ["a", "b", "c", "d", "마"], columns=3, scale=2)
    assert sheet.startswith(b"\x89PNG")
    assert pictures.pair(images[0], images[1]) != pictures.pair(images[0], images[1], aligned=images[2])
    with pytest.raises(ValueError, match="5 images need 5 labels"):
        pictures.contact_sheet(images, ["a"], columns=3, scale=2)


def _pattern(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.2 * np.sin(3 * y + 1) + 0.2 * np.cos(2 * x - y)


@pytest.mark.parametrize("turn", range(16))
def test_the_real_image_is_laid_under_the_synthetic_one(turn: int) -> None:
    """A copy that was moved by a map, then turned and inverted, lies exactly where the real image is laid."""
    rows, columns = 48, 40
    frame = (rows, columns) if turn % 2 == 0 else (columns, rows)
    y, x = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in (rows, columns)), indexing="ij")
    real = _pattern(y, x)
    affine = (0.7, 0.05, 0.1, -0.08, 0.8, -0.05)
    y, x = np.meshgrid(*((2 * np.arange(n) + 1) / n - 1 for n in frame), indexing="ij")
    a, b, c, d, e, f = affine
    moved = _pattern(a * y + b * x + c, d * y + e * x + f)  # what the turned synthetic image looks like
    synthetic = next(
        made for k in range(8) if np.array_equal(turned((made := turned(moved[None], k))[0][None], turn % 8)[0], moved)
    )[0]
    synthetic = 1 - synthetic if turn >= 8 else synthetic
    laid = gallery.laid_under(real, synthetic.shape, turn, affine)
    assert laid.shape == synthetic.shape == (rows, columns)
    assert np.abs(laid - synthetic).max() < 2e-3
