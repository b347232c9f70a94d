"""The utility section of the dossier: a block for each piece of evidence, none without, numbers printed as given."""

import re
from typing import Any

import numpy as np
import pytest

from chambit.core.evidence import Band, Evidence, Interval, Verdict
from chambit.report import figures, pictures, plots, utility, wording
from chambit.report.dossier import Bundle, render

FEW = {side: words.replace("<", "&lt;") for side, words in wording.words()["notes"]["few"].items()}
FDA = "FDA SMD 7C (Zamzmi 2025)"


def spread(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.0123, "high": value + 0.0456} | more


def band(low: float, high: float) -> dict[str, Any]:
    return {"low": low, "middle": (low + high) / 2, "high": high, "draws": 40, "n": 777}


def by(name: str, **more: Any) -> dict[str, Any]:
    return {"extractor": f"{name}@1", "weights": "", "preprocessing_sha256": f"sha of {name}", "dimensions": 137} | more


def looked(first: float, second: float) -> list[dict[str, Any]]:
    weights = {"weights": "f00d" * 16, "dimensions": 1280}
    return [by("texture", n=777, **spread(first, band=band(0.21, 0.34))),
            by("lite0", **weights, n=777, **spread(second, band=band(0.22, 0.35)))]  # fmt: skip


def placed(name: str, *values: float) -> dict[str, Any]:
    sets = ("train", "synthetic", "gaussian", "noisy", "interpolated")
    return by(name) | {one: spread(value) for one, value in zip(sets, values, strict=True)}


PARTS = {"label": {
    "lesion": {"real": 512, "synthetic": 901, "n": 438, "subjects": 430,
               "distance": spread(0.8768, band=band(0.3, 0.4))},
    "rarely": {"real": 19, "synthetic": 23},
}}  # fmt: skip
ARMS = {arm: {"auroc": area, "low": area - 0.011, "high": area + 0.012, "seeds": [area]} for arm, area in {
    "real": 0.951, "synthetic": 0.932, "mixed": 0.957, "pretrained": 0.953, "gaussian": 0.701, "noisy": 0.944,
    "interpolated": 0.938}.items()}  # fmt: skip


def endpoint(name: str, shown: bool, **more: Any) -> dict[str, Any]:
    arms = {arm: {"value": one["auroc"], "low": one["low"], "high": one["high"]} for arm, one in ARMS.items()}
    given = {"arms": arms, "loss": 0.0187, "of": "loss", "low": -1.0, "high": 0.0412, "p": 0.0021, "adjusted": 0.0084,
             "n_needed": 3141, "margin": 0.05}  # fmt: skip
    return given | {"endpoint": name, "shown": shown} | more


def points(*times: int) -> list[dict[str, Any]]:
    return [{"real": n, "times": k, "auroc": 0.8 + 0.01 * k + n / 10000, "low": 0.7, "high": 0.95}
            for n in (50, 1000) for k in times]  # fmt: skip


def means(**values: float) -> dict[str, Any]:
    return {name: {"mean": value, "low": value - 0.02, "high": value + 0.03} for name, value in values.items()}


DETAILS: dict[str, dict[str, Any]] = {
    "frechet.distance": {"seen": looked(1.234, 2.345), "parts": PARTS, "few": True},
    "precision_recall.recall": {"seen": looked(0.611, 0.622), "parts": {}, "few": True},
    "agreement.tau": {
        "sets": ["train", "synthetic", "gaussian", "noisy", "interpolated"],
        "seen": [placed("texture", 0.01, 0.04, 0.2, 0.02, 0.03), placed("lite0", 0.01, 0.08, 0.05, 0.02, 0.03)],
        "in_conflict": [["texture", "lite0"]],
        "left_out": {"raddino": "no weights are named"},
    },
    "downstream.loss": {
        "margin": 0.05, "arms": ARMS, "prevalence": {"normal": 0.52, "lesion": 0.48}, "n_needed": 271,
        "delong": {"value": 0.0222, "low": 0.0111, "high": 0.0333, "method": "DeLong"},
        "heads": [by("lite0", loss=spread(0.0321), arms={"real": 0.917, "synthetic": 0.885, "gaussian": 0.66})],
    },
    "downstream.endpoints": {
        "claim": "non-inferiority", "specificity": 0.9, "prevalence": 0.484,
        "rows": [endpoint("auroc", True), endpoint("aupr", False, n_needed=None)],
    },
    "downstream.calibration_loss": {"arms": {
        "real": {"brier": 0.0712, "ece": 0.0213, "slope": 1.043, "intercept": -0.032},
        "synthetic": {"brier": 0.1014, "ece": 0.0671}}},
    "segmentation.dice_loss": {"margin": 0.05, "arms": means(real=0.781, synthetic=0.752, misplaced=0.214)},
    "mix.gain": {"points": points(0, 1, 5)},
    "refinement.gain": {"step": "crop", "steps": [{"step": "crop", "gain": 0.0413, "low": 0.021, "high": 0.064}]},
    "border.excess": {"real": 0.523, "synthetic": 0.567, "width": 0.1},
    "shortcut.auroc": {"classes": {"lesion": spread(0.934)},
                       "families": {"glcm": spread(0.812), "spectrum": spread(0.913)}},
    "saliency.energy": {"arms": means(real=0.412, synthetic=0.361, centre=0.183, chance=0.114)},
    "saliency.agreement": {"repeatability": 0.713, "repeatability_synthetic": 0.694,
                           "worst": [{"id": "t-0042", "agreement": -0.217}]},
    "saliency.border": {"even": 0.36, "test_classes": [{"class": "lesion", "real": 0.311, "synthetic": 0.335}
                                                       | means(x=0.024)["x"]], "synthetic_classes": []},
}  # fmt: skip

# a heading of each block, and numbers that stand nowhere else
BLOCKS = {
    "frechet.distance": ("Distance and variety", ["1.23", "2.35", "0.210 – 0.340", "f00d" * 16, "sha of lite0"]),
    "precision_recall.recall": ("Distance and variety", ["0.611", "0.622"]),
    "agreement.tau": ("Do the extractors agree?", ["Conflict", "no weights are named", "0.0400"]),
    "downstream.loss": (
        "Models tested on real patients",
        ["0.951 (0.940 – 0.963)", "0.022", "271", "not releasable", "trivial generator, to be beaten"],
    ),
    "downstream.endpoints": ("By endpoint", ["48.4", "0.0084", "upper limit 0.041", "3,141", "not shown"]),
    "downstream.calibration_loss": ("Can the predicted probabilities", ["0.071", "1.043", "−0.032", "0.067"]),
    "segmentation.dice_loss": ("Can outlines be learnt", ["0.781 (0.761 – 0.811)", "must lose much"]),
    "mix.gain": ("Added to few real images", ["real alone", "+ 5 × synthetic", "78.6 → 85.7"]),
    "refinement.gain": ("What each step of the refinement gains", ["crop", "0.041 (0.021 – 0.064)"]),
    "border.excess": ("Can the label be read from the border", ["0.523", "0.567"]),
    "shortcut.auroc": ("Told from real images by what?", ["Fine structure", "0.913 (0.901 – 0.959)", "lesion"]),
    "saliency.energy": ("Do the two models look", ["0.412", "0.183", "0.114"]),
    "saliency.agreement": ("Do the two models look", ["0.713", "0.694", "t-0042", "−0.217"]),
    "saliency.border": ("Do the two models look", ["0.311", "0.335", "0.360"]),
}  # fmt: skip


def evidence(key: str, verdict: Verdict = Verdict.CONDITIONAL, **more: Any) -> Evidence:
    measure, quantity = key.split(".")
    given: dict[str, Any] = {
        "value": 0.4321,
        "interval": Interval(low=0.4, high=0.5, level=0.95, method="bootstrap"),
        "n": {"images": 12},
        "direction": "lower",
        "band": Band(low=0.1, middle=0.2, high=0.3, draws=40, n=12),
        "details": DETAILS.get(key, {}),
    }
    return Evidence(measure=f"{measure}@1", quantity=quantity, verdict=verdict, policy="", because="", **(given | more))


def page(*rows: Evidence, **more: Any) -> str:
    given: dict[str, Any] = {
        "title": "t", "kind": "audit", "produced": "2026-11-22", "version": "0", "attempt": 1, "attempts": 1,
        "phantom": True, "study_digest": "sha256:ab", "policy": {}, "verdict": Verdict.CONDITIONAL, "because": (),
    }  # fmt: skip
    return render(Bundle(**(given | {"evidence": rows} | more)))


def section(html: str, side: str = "en") -> str:
    """The words of the utility section in one language."""
    html = html[html.index('<section id="utility">') : html.index('<section id="irreversible">')]
    other = {"ko": "en", "en": "ko"}[side]
    html = re.sub(rf'<(span|text)[^>]*class="{other}\b[^>]*>.*?</\1>', "", html, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("\u00a0", " ")


@pytest.fixture(scope="module")
def whole() -> str:
    return page(*map(evidence, DETAILS))


@pytest.mark.parametrize("key", BLOCKS)
def test_each_block_stands_with_its_evidence_and_not_without(key: str) -> None:
    heading, numbers = BLOCKS[key]
    words = section(page(evidence(key)))
    assert [part for part in (heading, *numbers) if part not in words] == []
    others = [evidence(other) for other in BLOCKS if BLOCKS[other][0] != heading]
    assert heading not in section(page(*others))


@pytest.mark.parametrize("verdict", [Verdict.NOT_RUN, Verdict.INVALID])
def test_what_was_not_measured_or_is_invalid_shows_no_number(verdict: Verdict) -> None:
    words = section(page(*(evidence(key, verdict) for key in DETAILS)))
    assert [heading for heading, _ in BLOCKS.values() if heading in words] == []
    assert not re.search(r"\d\.\d", words)
    assert "2,048" not in words


def test_all_words_stand_in_both_languages(whole: str) -> None:
    korean, english = section(whole, "ko"), section(whole, "en")
    assert not re.search("[가-힣]", english)
    for number in ("1.23", "0.951 (0.940 – 0.963)", "271", "0.0084", "−0.217", "78.6 → 85.7"):
        assert number in korean
        assert number in english
    for words in ("환자의 복제: 반출 불가", "등급과 집단별", "어긋남", "보이지 않음", "같은 곳을 보나"):
        assert words in korean
    assert len(re.findall(r'class="ko\b', whole)) == len(re.findall(r'class="en\b', whole))


def test_few_images_are_said_beside_every_frechet_distance_and_no_other() -> None:
    rows = [evidence("frechet.distance"), evidence("precision_recall.recall")]
    assert page(*rows).count(FEW["ko"]) == page(*rows).count(FEW["en"]) == 3  # card, all evidence, extractors
    many = {"details": DETAILS["frechet.distance"] | {"few": False}}
    assert FEW["ko"] not in page(evidence("frechet.distance", **many), evidence("precision_recall.recall"))


def test_a_part_that_is_too_small_is_counted_and_not_measured(whole: str) -> None:
    words = section(whole)
    assert "lesion 512 901 438 0.877 0.865 – 0.922 ▨ 0.300 – 0.400" in words
    assert "rarely 19 23 — too small to measure (19 real, 23 synthetic images)" in words


def test_the_judged_extractor_is_marked_and_sets_are_ranked() -> None:
    first, second = utility.quantities({"frechet.distance": DETAILS["frechet.distance"]})[0].looks
    assert (first.judged, second.judged) == (True, False)
    assert "url(#band-hatch)" in first.plot
    ranks = {
        name.en: [place.rank for place in places] for name, places in utility.order(DETAILS["agreement.tau"])["sets"]
    }
    assert ranks["The set under review"] == [4, 5]
    assert ranks["Blurs (trivial generator)"] == [5, 4]


def test_trivial_arms_are_drawn_apart_and_copies_are_named() -> None:
    plot = str(figures.forest(ARMS, 0.05))
    assert len(re.findall('<circle[^>]*class="value', plot)) == 7
    assert plot.count('class="value apart') == 3
    assert plot.index("Trained on synthetic, then on real") < plot.index("Trained on blurs")
    assert plot.count("copies of patients: not releasable") == 2
    assert "limit" in plot
    assert "limit" not in str(figures.forest(ARMS))


def test_each_line_of_the_mix_curve_has_its_own_dash_mark_and_label() -> None:
    plot = str(plots.mix_curve(points(0, 1, 5)))
    assert [plot.count(f"run run-{k}") for k in range(4)] == [1, 1, 1, 0]
    assert plot.count("open-mark") == 3  # two points and the label
    for label in ("real alone", "+ 1 × synthetic", "+ 5 × synthetic", "실제만", "합성 5배 더함"):
        assert plot.count(f">{label}<") == 1
    assert not plots.mix_curve([])


@pytest.mark.parametrize(("claim", "words"), [
    ("non-inferiority", "upper limit 0.041"), ("equivalence", "−1.000 – 0.041"), ("superiority", "lower limit −1.000"),
])  # fmt: skip
def test_the_end_that_decides_is_printed(claim: str, words: str) -> None:
    assert words in utility.bound(endpoint("auroc", True), claim).en


def test_the_seven_c_stand_beside_the_indicators() -> None:
    rows = {key: evidence(key, Verdict.PASS) for key in ("frechet.distance", "vendi.ratio", "copies.flagged")}
    told = {one.name.en: one for one in utility.criteria(rows, {"generation.model_card": "card.md"})}
    assert [one.name.en for one in told.values() if one.framework == FDA] == [
        "Congruence", "Coverage", "Constraint", "Completeness", "Compliance", "Comprehension", "Consistency",
    ]  # fmt: skip
    fifth = dict(told["Congruence"].cells[4])
    assert fifth[Verdict.PASS] == 1
    assert fifth[Verdict.NOT_RUN] == len(told["Congruence"].absent) > 3
    assert dict(told["Compliance"].cells[5])[Verdict.PASS] == 1
    assert told["Coverage"].cells[5] == ()
    assert [stated for _, stated in told["Comprehension"].attached] == ["card.md", ""]


def test_a_c_without_evidence_says_so() -> None:
    html = page(evidence("frechet.distance"))
    html = html[html.index('<table class="seven">') :].split("</table>")[0]
    rows = {
        cells[0]: cells[1]
        for cells in re.findall(r"<tr><td><b>(.*?)</b>.*?<td class=\"answers\">(.*?)</td></tr>", html, re.S)
    }
    plain = {re.sub(r"<[^>]+>", " ", name).split()[-1]: re.sub(r"<[^>]+>", " ", cell) for name, cell in rows.items()}
    for name in ("Consistency", "Completeness", "Comprehension", "Coverage"):
        assert "no evidence" in plain[name]
        assert "근거 없음" in plain[name]
    assert wording.name_of("frechet.distance").en in plain["Congruence"]


def test_the_sheet_of_maps_stands_once_and_makes_the_page_one_of_patients() -> None:
    png = pictures.contact_sheet(np.zeros((1, 8, 8), np.float32), None, 1, 1)
    html = page(evidence("saliency.agreement"), phantom=False, pictures={"heat": png})
    assert html.count("data:image/png") == 1
    assert 'class="heat"' in html[html.index('<section id="utility">') :]
    assert "Contains original images" in html
    assert "data:image/png" not in page(evidence("saliency.agreement"))


def test_missing_details_are_dashes_and_never_zero() -> None:
    bare = endpoint("sensitivity", False, arms={"real": {"value": float("nan")}}, loss=None, high=None)
    details = DETAILS["downstream.endpoints"] | {"rows": [bare]}
    words = section(page(evidence("downstream.endpoints", details=details)))
    assert "Sensitivity at specificity 90 % — — — — — upper limit —" in words
