"""Images put together of parts: who gave them, how much, and what a donors file may say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chambit.core.errors import InputError
from chambit.core.evidence import Verdict
from chambit.core.steps import Context
from chambit.images.imageset import ImageSet
from chambit.measure.examination import Examination, Result
from chambit.measure.safety import composition
from chambit.prepare import donors
from chambit.report.dossier import render
from chambit.review.verdict import judge
from examinations import POLICY, keep, patients, workplace
from imagefiles import write_csv
from test_dossier import bundle, seen
from tinystudy import NEVER, chambit, evidence, pictures, write_classes, write_policy

HEADER = "file,part,subject,share\n"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with workplace(tmp_path_factory.mktemp("composition")) as made:
        yield made


def _parts(*of: tuple[str, float]) -> str:
    return json.dumps([{"part": f"p{k}", "subject": who, "share": share} for k, (who, share) in enumerate(of)])


def _measure(context: Context, column: list[str | None] | None, train: int = 40) -> Result:
    made = keep(context.store, patients(len(column or [""]), 1, "s"), "S")
    if column is not None:
        made = ImageSet(context.store, made.table.with_columns(pl.Series("donors", column, dtype=pl.String)))
    sets = {"synthetic": made, "train": keep(context.store, patients(train, 2, "t"), "T")}
    return composition.measure(Examination(sets, context), composition.Options())


def _judged(result: Result) -> dict[str, Any]:
    return {finding.quantity: judge(finding, POLICY) for finding in result.findings}


# --- the measure


def test_without_donors_there_is_nothing_to_report(context: Context) -> None:
    assert _measure(context, None) == Result(())
    assert _measure(context, [None, ""]) == Result(())


def test_known_answers(context: Context) -> None:
    column = [
        _parts(("a", 0.25), ("b", 0.25), ("c", 0.25), ("d", 0.25)),
        _parts(("a", 0.3), ("a", 0.3), ("b", 0.2), ("c", 0.2)),
        _parts(("e", 0.1), ("f", 0.2), ("g", 0.3), ("h", 0.4)),
    ]
    result = _measure(context, column)
    found = {finding.quantity: finding for finding in result.findings}
    assert found["donors"].value == 3
    assert found["donors"].details["median"] == 4
    assert found["donors"].n == {"images": 3, "donors": 8, "train subjects": 40}
    assert found["largest_share"].value == pytest.approx(0.6)
    assert found["largest_share"].null == 0.25
    assert found["set_share"].value == pytest.approx((0.25 + 0.6) / 3)
    assert found["set_share"].null == 1 / 40
    for finding in result.findings:
        assert finding.control is not None
        assert finding.control.fired
        assert len(finding.inputs["donors"]) == 64
        assert finding.reason == ""
    assert result.scores is not None
    assert result.scores["composition.donors"].to_list() == [4, 3, 4]
    assert result.scores["composition.largest_share"].to_list() == pytest.approx([0.25, 0.6, 0.4])


def test_what_nobody_gave_by_himself_counts_as_the_images(context: Context) -> None:
    column = [_parts(("a", 0.05), ("b", 0.1)), _parts(("c", 0.02), ("d", 0.02), ("c", 0.02))]
    found = {finding.quantity: finding for finding in _measure(context, column).findings}
    assert found["largest_share"].value == pytest.approx(0.1)
    assert found["largest_share"].null == pytest.approx((0.15 / 2 + 0.06 / 3) / 2)
    assert found["set_share"].value == pytest.approx(0.1 / 2)
    assert found["set_share"].null == pytest.approx((0.15 + 0.06) / 2 / 40)
    for finding in found.values():
        assert finding.control is not None
        assert finding.control.fired


def test_rules(context: Context) -> None:
    even = [_parts(*((f"t{(8 * k + j) % 40}", 0.125) for j in range(8))) for k in range(10)]
    assert {item.verdict for item in _judged(_measure(context, even)).values()} == {Verdict.PASS}
    one = _judged(_measure(context, [*even, _parts(*[("t1", 0.125)] * 8)]))
    assert one["donors"].verdict is Verdict.FAIL
    assert one["largest_share"].verdict is Verdict.FAIL
    half = _judged(_measure(context, [*even, _parts(("t1", 0.5), ("t2", 0.25), ("t3", 0.25))]))
    assert half["largest_share"].verdict is Verdict.CONDITIONAL
    always = _judged(_measure(context, [_parts(("t0", 0.4), ("t1", 0.3), (f"t{k}", 0.3)) for k in range(2, 30)]))
    assert always["set_share"].verdict is Verdict.CONDITIONAL


def test_images_that_name_nobody_are_no_pass(context: Context) -> None:
    even = [_parts(*((f"t{k + j}", 0.125) for j in range(8))) for k in range(10)]
    result = _measure(context, [*even, None])
    donors_found = _judged(result)["donors"]
    assert donors_found.verdict is Verdict.CONDITIONAL
    assert "1 further images name no donors" in donors_found.reason
    assert result.scores is not None
    assert result.scores["composition.donors"].to_list()[-1] is None


@pytest.mark.parametrize("wrong", ["a molar", "{}", "[]", "[1]", '[{"part": "p", "share": 1}]',
                                   '[{"part": "p", "subject": "t1", "share": "much"}]'])  # fmt: skip
def test_a_column_that_is_no_list_of_parts_is_named(context: Context, wrong: str) -> None:
    with pytest.raises(InputError) as told:
        _measure(context, [_parts(("a", 1)), wrong])
    assert "image S00001" in str(told.value)


def test_the_order_of_images_changes_nothing(context: Context) -> None:
    column = [_parts(*((f"t{(3 * k + j) % 17}", 0.2) for j in range(5))) for k in range(12)]
    values = [[finding.value for finding in _measure(context, given).findings] for given in (column, column[::-1])]
    assert values[0] == pytest.approx(values[1])


def test_the_dossier_misses_donors_only_where_there_are_any(context: Context) -> None:
    assert "Donors of an image" not in seen(render(bundle(evidence=())), "en")
    rows = tuple(_judged(_measure(context, [_parts(("a", 0.5), ("b", 0.5))])).values())
    page = render(bundle(evidence=rows))
    assert "Donors of an image" in seen(page, "en")
    assert "한 영상에서 한 환자의 최대 비중" in seen(page, "ko")


# --- the file


def _read(folder: Path, text: str, names: tuple[str, ...] = ("a/1.png", "a/2.png", "b/3.png")) -> Any:
    path = folder / "donors.csv"
    path.write_text(text, encoding="utf-8")
    return donors.read(path, names)


def test_a_good_file(tmp_path: Path) -> None:
    text = HEADER + "a/1.png,crown,P1,0.6\na\\1.png,root,P2,0.4\n\n3.png,all,P3,1\n"
    read = _read(tmp_path, "\ufeff" + text)
    assert set(read) == {"a/1.png", "b/3.png"}
    assert [(part.line, part.part, part.subject, part.share) for part in read["a/1.png"]] == [
        (2, "crown", "P1", 0.6), (3, "root", "P2", 0.4),
    ]  # fmt: skip
    other = "share,subject,part,file\n1,P3,all,b/3.png\n"
    assert _read(tmp_path, other)["b/3.png"] == (donors.Donor(2, "all", "P3", 1.0),)
    thirds = HEADER + "".join(f"a/1.png,p{k},P{k},0.33\n" for k in range(3))
    assert len(_read(tmp_path, thirds)["a/1.png"]) == 3


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    text = "a/1.png,crown,P1,0.6\nghost.png,all,P1,1\na/2.png,crown,P1,half\na/2.png,root,,0.5\nb/3.png,all,P2\n"
    with pytest.raises(InputError) as told:
        _read(tmp_path, HEADER + text)
    said = str(told.value)
    for line, what in {3: "'ghost.png' is not among the images", 4: "the share is 'half'", 5: "subject is empty",
                       6: "3 cells"}.items():  # fmt: skip
        assert f"donors.csv, line {line}" in said
        assert what in said
    with pytest.raises(InputError, match=r"line 2.*'a/1.png' add up to 0.6, not 1"):
        _read(tmp_path, HEADER + "a/1.png,crown,P1,0.6\n")


@pytest.mark.parametrize("share", ["0", "-0.2", "1.2", "nan", "inf"])
def test_shares_that_cannot_be(tmp_path: Path, share: str) -> None:
    with pytest.raises(InputError, match="line 2"):
        _read(tmp_path, HEADER + f"a/1.png,crown,P1,{share}\n")


@pytest.mark.parametrize("text", ["", "file,part,subject\n", "file,part,subject,share,share\n", "a;b;c;d\n"])
def test_columns_that_are_not_the_four(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="name file,part,subject,share"):
        _read(tmp_path, text)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        donors.read(tmp_path / "none.csv", ["a"])
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        donors.read(tmp_path / "x.csv", ["a"])


# --- an audit


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders for an audit; the training images' subjects are known."""
    folder = tmp_path_factory.mktemp("sets")
    made = {
        role: write_classes(folder / role, pictures(24, 100 + number))
        for number, role in enumerate(("train", "holdout", "synthetic"))
    }
    rows = [[path.relative_to(made["train"]).as_posix(), f"P{k}", path.parent.name]
            for k, path in enumerate(sorted(made["train"].rglob("*.png")))]  # fmt: skip
    write_csv(made["train"] / "labels.csv", rows)
    return made | {"policy": write_policy(folder / "quick.yaml", copies=NEVER)}


def _audit(sets: dict[str, Path], out: Path, table: Path) -> Any:
    given = [word for role in ("train", "holdout", "synthetic") for word in (f"--{role}", sets[role])]
    return chambit("audit", *given, "--out", out, "--policy", sets["policy"], "--engine", "inline", "--donors", table)


def test_an_audit_counts_donors_and_tells_nobody_who_they_are(sets: dict[str, Path], tmp_path: Path) -> None:
    names = [path.relative_to(sets["synthetic"]).as_posix() for path in sorted(sets["synthetic"].rglob("*.png"))]
    lines = [f"{name},p{j},P{(5 * k + j) % 24},0.2\n" for k, name in enumerate(names) for j in range(5)]
    table = tmp_path / "donors.csv"
    table.write_text(HEADER + "".join(lines), encoding="utf-8")
    said = _audit(sets, tmp_path / "out", table)
    assert said.code == 0, said.err
    found = evidence(tmp_path / "out")
    assert found["composition.donors"]["value"] == 5
    assert found["composition.largest_share"]["value"] == pytest.approx(0.2)
    assert found["composition.largest_share"]["verdict"] == "CONDITIONAL"
    images = pl.read_parquet(tmp_path / "out" / "images.parquet")
    assert images["composition.donors"].to_list() == [5] * 24
    assert "donors" not in images.columns
    assert "P17" not in (tmp_path / "out" / "evidence.json").read_text(encoding="utf-8")


def test_an_audit_refuses_donors_that_were_not_trained_on(sets: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "donors.csv"
    table.write_text(HEADER + "normal/000.png,a,P1,0.5\nnormal/000.png,b,Nobody,0.5\n", encoding="utf-8")
    said = _audit(sets, tmp_path / "out", table)
    assert said.code == 2
    assert "donors.csv, line 3" in said.err
    assert "'Nobody' is not among the training subjects" in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out" / "evidence.json").exists()


def test_a_bad_donors_file_is_told_before_anything_runs(sets: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "donors.csv"
    table.write_text(HEADER + "normal/000.png,a,P1,0.5\n", encoding="utf-8")
    said = _audit(sets, tmp_path / "out", table)
    assert said.code == 2
    assert "add up to 0.5, not 1" in said.err
    assert not (tmp_path / "out").exists()
