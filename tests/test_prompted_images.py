"""Images of the prompted recipe: verification, the stand-in's drawings, the page, the stages that hand them out."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import promptplans
from chambit.commands.prompt import command
from chambit.core import digest
from chambit.core.engines import inline
from chambit.core.errors import InputError
from chambit.core.ledger import Ledger
from chambit.core.steps import Context, Step
from chambit.core.store import Store
from chambit.generate.items import Examples, Form
from chambit.generate.prompted import attempts, drawing, handing, page, plan, provenance, running, verification
from chambit.generate.refine import crop, visible_mark
from chambit.generate.stages import external, folder
from chambit.generate.stages import prompted as stages_prompted
from chambit.images.imageset import ImageSet

# --- verification and the stand-in's drawings


def test_agreement_and_what_is_not_verified() -> None:
    told = promptplans.made()
    asked = pl.DataFrame(
        {
            f"asked_{n}": ["PA", "AP", "lateral"]
            if n == "view"
            else ["F"] * 3
            if n == "sex"
            else [next(iter(f.levels))] * 3
            for n, f in told.factors.items()
        }
    )
    checks = {"sex": verification.Checked("sex", verification.share(50, 100), 0.5)}
    read = {"view": np.array(["PA", "PA", ""]), "sex": np.array(["F", "M", "F"])}
    view, posture, sex, *_ = verification.compared(told, asked, read, checks)
    assert view.confusion.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert (view.agreement.k, view.agreement.n, view.unsaid, view.blank) == (1, 2, 1, "")
    assert (posture.blank, sex.blank) == ("unverified", "unreadable")
    rows = dict(((f, level), s) for f, level, s in verification.refusals(told, asked, [True, False, False]))
    assert (rows["view", "PA"].k, rows["view", "AP"].k, rows["sex", "F"].n) == (1, 0, 3)


def test_a_verifier_reads_phantoms_it_has_not_seen_and_the_stand_ins() -> None:
    verifier = verification.trained(1, patients=320, held_out=120, pixels=32)
    assert all(verifier.checks[name].reads for name in ("view", "habitus"))
    prompts = [
        f"{view} chest radiograph of a 50 year old man" for view in ("lateral", "posteroanterior") for _ in range(12)
    ]
    made = [drawing.picture(text, k, 64, drawing.Faults(lateral=0.5)) for k, text in enumerate(prompts)]
    read = verifier(np.stack([image for image, _ in made]))["view"] == "lateral"
    true = np.array([truth["view"] == "lateral" for _, truth in made])
    assert 0 < true.sum() < 12  # some wishes are not followed
    assert (read == true).mean() >= 0.9


def test_the_stand_in_fails_as_planned() -> None:
    wish = drawing.understood(
        "posteroanterior chest radiograph of a 70 year old woman, slim, pneumonia in the left lung. No text."
    )
    assert wish == ("F", "60-79", "slim", "PA", True, "left")
    assert not drawing.understood("a man without pneumonia").sick
    faults = drawing.Faults()
    ill = [drawing.picture("pneumonia in the left lung", k, 128, faults) for k in range(20)]
    well = [drawing.picture("healthy lungs", k, 128, faults) for k in range(20)]
    assert np.mean([t["side"] == "left" for _, t in ill]) > 0.8
    assert np.mean([t["gas"] == "True" for _, t in ill]) > 0.5 > np.mean([t["gas"] == "True" for _, t in well])
    images = np.stack([image for image, _ in ill + well])
    clean = faults._replace(mark=False)
    plain = np.stack([drawing.picture("healthy lungs", k, 128, clean)[0] for k in range(20, 40)])
    same = np.stack([drawing.picture("healthy lungs", k, 128, clean)[0] for k in range(20)])
    options = visible_mark.Options(z=8.0, strength=0.06, area=4)
    assert visible_mark.find(same, same, options) == []
    (mark,) = visible_mark.find(images[20:], same, options)
    assert mark.top >= 112
    assert mark.left >= 112
    assert any(mark.top >= 112 and mark.left >= 112 for mark in visible_mark.find(images[20:], plain, options))
    assert crop.apply((images * 255).astype(np.uint8), crop.Options(bottom="30%")).shape[1] <= mark.top


# --- the page


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run with the stand-in; read it, do not change it."""
    folder = tmp_path_factory.mktemp("prompted") / "run"
    options = {"pixels": 128, "busy_every": 7}
    service = {"name": "fake", "model": "phantom-image-1", "options": options}
    limits = {"cost": 5.0, "per_minute": 60000, "first_wait": 0.01, "instead": 3}
    running.run(promptplans.made(provider=service, limits=limits, seed=5), folder)
    return folder


def test_the_page_says_all_in_two_languages_and_loads_nothing(finished: Path, tmp_path: Path) -> None:
    told = plan.read(finished / "plan.yaml")
    run = page.load(told, finished)
    assert len(run.obtained) == 12

    def verify(images: np.ndarray) -> dict[str, np.ndarray]:
        assert images.shape == (12, 64, 64)
        return {"sex": np.where(np.arange(12) % 2, "F", "M"), "view": run.obtained["asked_view"].to_numpy()}

    marks = page.Marks([visible_mark.Mark(117, 117, 124, 123, 0.3)], 128, "9 phantoms")
    seen = page.looked_at(run, 64, verify, {}, marks)
    page.write(run, seen, tmp_path / "a.html")
    page.write(run, seen, tmp_path / "b.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert text.count('class="ko"') == text.count('class="en"') > 20
    assert "12 / 12" in text
    assert "100 % (76–100, n = 12)" in text  # agreement of the view, which was read as asked
    assert "bottom: 9%" in text
    assert text.count("<figure>") == 12
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text


def test_a_run_that_is_not_there_is_an_empty_page(tmp_path: Path) -> None:
    run = page.load(promptplans.made(), tmp_path)
    page.write(run, page.looked_at(run, 64, None, {}, page.Marks([], 128, "")), tmp_path / "report.html")
    assert "0 / 12" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_files_are_kept_with_their_origin(finished: Path) -> None:
    lines = [line for line in attempts.read(finished / "attempts.jsonl") if line.outcome == "image"]
    for line in lines:
        data = (finished / "images" / line.file).read_bytes()
        assert digest.of_bytes(data) == line.sha256
        assert set(line.provenance) == {"text Software", "text truth"}
    table = pl.read_csv(finished / "labels.csv")
    assert set(table["digital_source_type"]) == {provenance.SOURCE_TYPE}
    assert (table["file"].str.ends_with(".png")).all()


# --- the command

CALL = "from chambit.commands.prompt import command; command()"


def test_the_command_plans_asks_and_shows(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[1] / "examples" / "prompts-cxr.yaml"
    rest = [str(example), "--out", str(tmp_path), "-n", "4"]
    planned = CliRunner().invoke(command, ["plan", *rest])
    assert planned.exit_code == 0, planned.output
    assert "4 images at 0.0387 USD = 0.15 USD" in planned.output
    assert not (tmp_path / "attempts.jsonl").exists()
    # in a process of its own: what it closes stays closed
    asked = subprocess.run([sys.executable, "-c", CALL, "run", *rest], capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stderr
    assert "4 images" in asked.stdout
    assert CliRunner().invoke(command, ["show", *rest, "--no-verify"]).exit_code == 0
    assert "4 / 4" in (tmp_path / "report.html").read_text(encoding="utf-8")


# --- stages


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    step = Step("train", "1", {}, {}, lambda _: {}, seed=7)
    ledger = Ledger.beside(tmp_path)
    yield Context(step, Store(tmp_path), ledger, inline.Engine(), lambda _: None, tmp_path / "scratch")
    ledger.close()


def _examples(context: Context, form: Form, classes: tuple[str, ...] = ("normal", "pneumonia")) -> Examples:
    return Examples(ImageSet(context.store, pl.DataFrame({"id": []})), form, classes)


def _plan_file(finished: Path) -> Path:
    return finished / "plan.yaml"


def test_the_stage_hands_out_each_image_once(finished: Path, context: Context) -> None:
    options = stages_prompted.Options(plan=_plan_file(finished), provider=str(finished))
    assert stages_prompted.ports(options).makes == ("image",)
    key = stages_prompted.train(context, _examples(context, Form(32, 24)), options)
    label = np.array([1, 0, 0, 1, 1, 0])
    whole = stages_prompted.sample(context.store, key, {"label": label}, [0] * 6, options)["image"]
    assert (whole.shape, whole.dtype) == ((6, 32, 24), np.float32)
    assert 0 <= whole.min() < whole.max() <= 1
    assert len({image.tobytes() for image in whole}) == 6
    ranked = {"label": label[3:], "rank": handing.ranks(label)[3:]}
    part = stages_prompted.sample(context.store, key, ranked, [0] * 3, options)["image"]
    assert np.array_equal(part, whole[3:])
    first = next(path for path, own in zip(*_obtained(finished), strict=True) if own == "pneumonia")
    assert np.abs(whole[0] - handing.fitted(first, Form(32, 24))).max() < 1e-4
    with pytest.raises(InputError, match="6 images exist, 7 are asked for"):
        stages_prompted.sample(context.store, key, {"label": np.zeros(7, int)}, [0] * 7, options)
    told = handing.told(context.store, key)
    assert told["provider"] == "fake"
    assert context.store.get_arrays(key)["factors"].shape == (12, 5)


def _obtained(folder: Path) -> tuple[list[Path], list[str]]:
    run = page.load(plan.read(folder / "plan.yaml"), folder)
    return [Path(path) for path in run.obtained["path"]], run.obtained["label"].to_list()


def test_the_stage_asks_the_stand_in_itself_and_crops(finished: Path, context: Context) -> None:
    changed = {"normal": "healthy"}
    options = stages_prompted.Options(
        plan=_plan_file(finished), options={"pixels": 128}, images=4, labels=changed, bottom=0.3
    )
    examples = _examples(context, Form(24, 24, 3), ("healthy", "pneumonia"))
    key = stages_prompted.train(context, examples, options)
    made = stages_prompted.sample(context.store, key, {"label": np.array([0, 1])}, [0, 0], options)["image"]
    assert made.shape == (2, 24, 24, 3)
    star = handing.fitted(_obtained(finished)[0][0], Form(128, 128))[116:124, 116:124].max()
    assert star > 0.75
    with pytest.raises(InputError, match="no classes of the study"):
        stages_prompted.train(context, _examples(context, Form(24, 24)), options)


@pytest.mark.parametrize("name", ["gemini", "openai_compatible"])
def test_a_study_asks_no_outside_service(name: str, finished: Path, context: Context) -> None:
    options = stages_prompted.Options(plan=_plan_file(finished), provider=name)
    with pytest.raises(InputError, match="no outside service") as caught:
        stages_prompted.train(context, _examples(context, Form(24, 24)), options)
    assert "chambit prompt run" in str(caught.value)


def test_a_folder_is_a_stage(finished: Path, context: Context, tmp_path: Path) -> None:
    options = folder.Options(folder=finished)
    key = folder.train(context, _examples(context, Form(16, 16)), options)
    made = folder.sample(context.store, key, {"label": np.array([0, 1, 0])}, [0] * 3, options)["image"]
    assert len({image.tobytes() for image in made}) == 3
    (tmp_path / "labels.csv").write_text("file,label\nx.png,normal\n../y.png,normal\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.png is missing(?s:.*)outside the folder"):
        folder.train(context, _examples(context, Form(16, 16)), folder.Options(folder=tmp_path))
    with pytest.raises(InputError, match="time axis"):
        folder.train(context, _examples(context, Form(16, 16, 1, "time", 4)), options)


FUNCTIONS = """
import numpy as np

def good(labels, seeds, shape):
    return np.stack([np.full(shape, (len(a) % 7) / 10) + np.random.default_rng(s).random(shape) / 10
                     for a, s in zip(labels, seeds)])

def together(labels, seeds, shape):
    return np.random.default_rng(seeds[0]).random((len(labels), *shape))

def bright(labels, seeds, shape):
    return np.full((len(labels), *shape), 2.0)

def wrong(labels, seeds, shape):
    return np.zeros(shape)

def broken(labels, seeds, shape):
    raise RuntimeError("out of paint")
"""


def test_any_function_is_a_stage(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FUNCTIONS, encoding="utf-8")
    options = external.Options(file=path, call="good")
    key = external.train(context, _examples(context, Form(8, 6)), options)
    whole = external.sample(context.store, key, {"label": np.array([0, 1, 1])}, [4, 5, 6], options)["image"]
    alone = external.sample(context.store, key, {"label": np.array([1])}, [6], options)["image"]
    assert (whole.shape, whole.dtype) == ((3, 8, 6), np.float32)
    assert np.array_equal(whole[2], alone[0])
    path.write_text(FUNCTIONS + "# changed\n", encoding="utf-8")
    with pytest.raises(InputError, match="has changed"):
        external.sample(context.store, key, {"label": np.array([0])}, [4], options)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("together", "own label and seed"),
        ("bright", "values from 2 to 2"),
        ("wrong", r"gave \(8, 6\)"),
        ("broken", r"RuntimeError: out of paint \(line \d+ of mine.py\)"),
        ("absent", "no function 'absent'"),
    ],
)
def test_foreign_code_is_named_with_its_fault(name: str, told: str, context: Context, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FUNCTIONS, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        external.train(context, _examples(context, Form(8, 6)), external.Options(file=path, call=name))
