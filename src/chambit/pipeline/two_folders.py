"""Audit of two folders, real and synthetic images, where no real images were held out from the generator.

What can still be measured: how near the synthetic set is to the real images, beside how near real images are to other
real ones; identifiers in files; text in pixels where that is asked for. For that the real folder is dealt at random, by
subject, into two halves that stand where train and holdout stand in a whole audit. They serve these numbers only: the
generator may have seen both halves, so a set of copies looks perfect here. A test of safety asks whether synthetic
images lie nearer to what the generator saw than to what it did not see. Nobody has told which is which, so none is
made: NOT_RUN.
"""

from collections.abc import Collection, Mapping

import polars as pl

from chambit.core import extensions
from chambit.core.errors import InputError, Problem
from chambit.core.evidence import Finding
from chambit.core.steps import Context, Outputs, Step
from chambit.images.imageset import ImageSet
from chambit.measure.examination import not_run
from chambit.pipeline import examining, refining
from chambit.prepare import intake
from chambit.prepare.split import split
from chambit.review.policy import Policy

REAL = "real"
SAFETY = "chambit.measure.safety"
TEXT = "text"
"""The one measure of that package that compares nothing with what the generator saw. It takes longer than all others
together, and is made where it is asked for."""
REASON = (
    "No holdout was given, so this cannot be tested: it takes real images of other subjects that the generator never "
    "saw (--train and --holdout instead of --real)."
)
NO_TEXT = "Text in pixels was not looked for: an audit of two folders does so with --text."
SAID = (
    "Nothing tells which real images the generator saw. They were dealt at random by subject into two halves, for the "
    "ranges of real against real only; copies of them would look perfect. Safety cannot be tested."
)
PROOF = "No real images were held out, so nothing can be proved about subjects that two parts share."
UNKNOWN = "For some real images the subject is not known, and each counts as its own."
KOREAN = {
    REASON: "보류 대조군이 없어 시험할 수 없음: 생성기가 한 번도 보지 못한, 다른 환자의 실제영상이 필요함 "
    "(--real 대신 --train과 --holdout).",
    NO_TEXT: "영상 속의 글자를 찾아보지 않음: 폴더 두 개의 감사에서는 --text를 주면 찾음.",
    SAID: "생성기가 어떤 실제영상을 보았는지 알 수 없음. 실제–실제 범위를 재려고 환자 단위로 무작위로 "
    "둘로 나누었을 뿐이며, 복제한 영상도 완벽해 보임. 안전성은 시험할 수 없음.",
    PROOF: "보류한 실제영상이 없어, 두 묶음에 같은 환자가 없다는 것을 증명할 수 없습니다.",
    UNKNOWN: "일부 실제영상은 환자를 알 수 없어 한 장을 한 환자로 셌습니다.",
}


def problems(roles: Mapping[str, object], donors: bool) -> list[Problem]:
    """What is wrong with the choice of folders: train and holdout, or real alone."""
    more = [f"--{role}" for role in roles if role not in (REAL, "synthetic")] + ["--donors"] * donors
    if REAL in roles and more:
        remedy = "leave out --real where images were held out, else give --real and --synthetic alone"
        return [Problem("--real", f"stands beside {', '.join(more)}", remedy)]
    lacking = [f"--{role}" for role in ("train", "holdout") if role not in roles]
    if REAL not in roles and lacking:
        remedy = "give --train and --holdout; where no real images were held out, --real DIR in place of both"
        return [Problem(" and ".join(lacking), "is not given" if len(lacking) == 1 else "are not given", remedy)]
    return []


def halves(tables_of: Mapping[str, str], policy: Policy, seed: int) -> Step:
    """The step that gives every measure its sets: `train` and `holdout` are the two halves of the real images."""

    def run(context: Context) -> Outputs:
        tables = {role: context.store.get_table(key) for role, key in tables_of.items()}
        if wrong := intake.check_classes(tables[REAL], 2):
            raise InputError("The real images cannot be used.", wrong)
        # a split that the folder's own labels name says nothing of the generator: it is not used
        real = tables[REAL].drop("split", strict=False)
        dealt = split(real, {"train": 0.5, "holdout": 0.5}, seed=context.seed("halves") % 2**31)
        parts = {role: dealt.filter(pl.col("split") == role).drop("split") for role in ("train", "holdout")}
        sets = {role: ImageSet(context.store, tables[role]) for role in tables_of}
        found = refining.marks(sets["synthetic"], sets[REAL], marking)
        keep = context.store.put_table
        return {role: keep(table) for role, table in (parts | {"synthetic": tables["synthetic"]}).items()} | {
            "marks": context.store.put_json([found])
        }

    marking = policy.settings.get("visible_mark", {})
    return Step("roles", "two folders 1", {"marks": marking}, dict(tables_of), run, seed)


def measured(names: Collection[str], *, text: bool) -> list[str]:
    """Which of these measures are made where nothing was held out; `text`: whether text in pixels is asked for."""
    kinds = examining.kinds()
    return [name for name in names if kinds[name] != SAFETY or (text and name == TEXT)]


def untested(names: Collection[str], sizes: Mapping[str, int], *, text: bool) -> list[Finding]:
    """Every number of the other measures, without a value: why, and `sizes`, how many images there are of what."""
    kinds, made = examining.kinds(), measured(names, text=text)
    overlap = Finding(
        measure="split@1", quantity="overlap", value=None, direction="lower", reason=REASON, n=dict(sizes)
    )
    findings = [overlap]
    for name in names:
        if name not in made:
            module = extensions.load(kinds[name], name)
            # those that have neither speak only of donors or of the generator's network, which nobody gave
            quantities = getattr(module, "QUANTITIES", getattr(module, "RELEASED", {}))
            why = NO_TEXT if name == TEXT else REASON
            findings += not_run(f"{name}@{module.version}", quantities, why, sizes).findings
    return findings


def proof_lines(real: pl.DataFrame) -> list[str]:
    """What is said where a whole audit has the proof of its split."""
    counted = f"real: {len(real):,} images of {real['subject'].n_unique():,} subjects."
    return [counted, PROOF] + ([] if real["subject_known"].all() else [UNKNOWN])
