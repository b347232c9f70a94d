"""The claim that nothing leads back: how images begin is said, and only what was measured stands as evidence."""

from html import unescape
from pathlib import Path
from typing import Any

import pytest

import chambit.generate.stages
from chambit.core.evidence import Verdict
from chambit.report import wording
from chambit.report.dossier import render
from chambit.report.making import Making
from chambit.report.stages import Stage
from test_dossier import bundle, evidence, seen

STAGES = Path(chambit.generate.stages.__path__[0])


def stage(name: str, **more: Any) -> Stage:
    return Stage(name=name, version="1", options="", weights="ab", **more)


def section(language: str, *stages: Stage, **changes: Any) -> str:
    html = render(bundle(making=Making(stages=stages) if stages else None, **changes))
    own = html.split('<section id="irreversible">')[1].split("</section>")[0]
    return unescape(" ".join(seen(own, language).split()))


def test_each_stage_says_what_it_begins_with() -> None:
    drawn = stage("flow", facts={"random_numbers_per_item": 1027, "network_calls_per_item": 31})
    said = section("en", drawn, stage("compose", needs=("image",), makes=("image", "donors")),
                   stage("esrgan", needs=("image",), makes=("image",)), stage("layout", makes=("layout",)))  # fmt: skip
    begins = "begins an image with 1,027 random numbers and calls its network 31 times."
    assert f"flow , rectified flow (a diffusion model) : {begins}" in said
    assert "composition part by part : takes brightness and contrast of each part from several patients" in said
    assert "esrgan , super-resolution : changes the image that the stage before it made." in said
    assert "layout , DDPM of layouts (a diffusion model) : begins with random numbers." in said
    assert "no proof that they are safe" in said
    assert "난수 1,027개에서 시작해 망을 31번 불러" in section("ko", drawn)


@pytest.mark.parametrize("stages", [(), (stage("folder"),), (stage("external"), stage("prompted"))])
def test_of_images_made_elsewhere_nothing_is_claimed(stages: tuple[Stage, ...]) -> None:
    said = section("en", *stages)
    assert "How these images began is not known here." in said
    assert "patient's image when it draws" not in said
    mixed = section("en", *stages, stage("flow"))
    assert "patient's image when it draws" in mixed
    assert mixed.count("what they began with is not known") == len(stages)


def test_every_claim_stands_beside_what_was_measured_or_says_that_nothing_was() -> None:
    keys = [key for claim in wording.words()["irreversible"] for key in claim["keys"]]
    assert set(keys) <= set(wording.words()["evidence"])
    for claim in wording.words()["irreversible"]:
        assert set(claim["says"]) == {"ko", "en"}  # an unquoted comma would have cut it
        assert claim["says"]["ko"] in section("ko", stage("flow"))
    measured = evidence("copies.exact", Verdict.FAIL, 3.0)
    said = section("en", stage("flow"), evidence=(measured,))
    assert said.count("not measured") == len(keys) - 1
    assert wording.value_text(measured).en in said
    assert "not measured" not in section("en", stage("flow"), evidence=tuple(evidence(k, Verdict.PASS) for k in keys))


def test_every_stage_there_is_has_the_name_of_its_family() -> None:
    named = wording.words()["kinds_of_stages"]
    assert {path.stem for path in STAGES.glob("*.py")} - {"__init__"} == set(named)
    assert "gan , generative adversarial network :" in section("en", stage("gan"))
