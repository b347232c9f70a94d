"""What the examination of a cohort is run with; a policy sets the values under `settings.quality`."""

from pydantic import Field, model_validator

from chambit.core.evidence import Frozen

CHECKS = {
    "truncated": ("part of the picture is missing", "영상 일부 누락"),
    "saturated": ("saturated", "포화"),
    "inverted": ("inverted (negative)", "흑백 반전"),
    "turned": ("turned or upside down", "회전·상하 뒤집힘"),
    "mirrored": ("mirrored left to right", "좌우 뒤집힘"),
    "blank": ("blank or little information", "빈 영상·정보량 부족"),
    "noisy": ("noisy", "잡음 과다"),
    "blurred": ("blurred", "흐림"),
    "shifted": ("shifted crop", "위치 어긋남"),
    "stretched": ("wrong aspect ratio", "가로세로 비율 이상"),
    "texture": ("unusual texture", "질감 이상"),
    "unlike": ("unlike the cohort", "다른 영상과 다름"),
    "exact_duplicate": ("exact duplicate", "완전 중복"),
    "near_duplicate": ("near duplicate", "유사 중복"),
}
"""Every check by name, with its words in English and Korean; the most telling ones first, as findings are told."""


class Options(Frozen):
    """What the examination of a cohort is run with.

    Attributes:
        false_alarms: expected share of ordinary images with a finding, over all checks together but duplicates.
        false_pairs: expected share of images wrongly paired with an image of another subject.
        contamination: largest share of outliers that the limits stand; a check that finds more removes nothing.
        removes: checks whose findings leave the set; findings of the others wait for a person.
        white, black: brightness in [0, 1] from which, and up to which, a pixel counts as saturated.
        saturated_least: a smaller share of saturated pixels is never a finding, however rare it is.
        missing_least: a smaller share of constant rows or columns at one edge is never a finding.
        shift_least: a shift by a smaller share of the side is never a finding.
        axes: most principal components of the thumbnails.
        folds: parts by subject; each is judged by a model of the others.
        fitted: images, drawn at random, that a model is fitted to at most.
        least: fewest images of a cohort that can be examined.
        label_axes: principal components for the classifier of labels.
        penalty: inverse strength C of its quadratic penalty.
        label_auroc: least AUROC of that classifier; below it most of what it lists would be hard images, not errors.
        label_least: fewest subjects of a class whose labels are examined.
    """

    false_alarms: float = Field(0.005, gt=0, lt=0.1)
    false_pairs: float = Field(0.001, gt=0, lt=0.1)
    contamination: float = Field(0.05, gt=0, lt=0.2)
    removes: tuple[str, ...] = (
        "truncated",
        "saturated",
        "inverted",
        "turned",
        "blank",
        "noisy",
        "blurred",
        "texture",
        "unlike",
        "exact_duplicate",
        "near_duplicate",
    )
    white: float = Field(0.98, gt=0.5, le=1)
    black: float = Field(0.02, ge=0, lt=0.5)
    saturated_least: float = Field(0.2, ge=0, lt=1)
    missing_least: float = Field(0.1, gt=0, lt=1)
    shift_least: float = Field(0.1, gt=0, lt=0.5)
    axes: int = Field(24, ge=2)
    folds: int = Field(4, ge=2)
    fitted: int = Field(3000, ge=50)
    least: int = Field(50, ge=20)
    label_axes: int = Field(50, ge=2)
    penalty: float = Field(0.1, gt=0)
    label_auroc: float = Field(0.75, gt=0.5, le=1)
    label_least: int = Field(20, ge=5)

    @model_validator(mode="after")
    def _known(self) -> "Options":
        unknown = sorted(set(self.removes) - CHECKS.keys())
        if unknown:
            raise ValueError(f"`removes` names no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
        return self
