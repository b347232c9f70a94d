"""Volumes as NIfTI and in the browser, films in their player: known voxels, who gets them, nothing from elsewhere."""

import gzip
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel
import numpy as np
import polars as pl
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from PIL import Image as Picture

from chambit.core.store import Store
from chambit.hub import accounts, imagetable, runs, studies, trail, volume
from chambit.hub.hub import Hub
from chambit.hub.imagetable import Images
from chambit.hub.refusals import HubError, NotAllowedError, NotThereError
from chambit.images import geometry, imageset
from chambit.images.geometry import Geometry
from chambit.images.imageset import ImageSet
from chambit.images.readers import nifti
from chambit.phantoms.kinds import body
from chambit.pipeline import conditions, refining
from chambit.web import guard
from chambit.web.pages import catalogue as pages
from chambit.web.pages import vendor
from hubs import PASSWORD, cheap_hashes
from test_catalogue import LOGINS, approved, client, made, registers, rests, served, signs_in, source

__all__ = ["cheap_hashes", "client", "served", "source"]  # fixtures

ROOT = Path(__file__).parents[1]
DEEP, HIGH, WIDE = 7, 5, 6
CT = {"units": "HU", "units_black": "-1000", "units_white": "2000"}


def voxels(seed: int = 0, dtype: type = np.uint16) -> np.ndarray:
    """A volume (slice, row, column) of which no two voxels are likely to be equal."""
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, (DEEP, HIGH, WIDE), dtype)


def run_of(folder: Path, source: Path, volumes: list[np.ndarray], **said: str) -> Path:
    """A finished run of volumes V0, V1 ...; slices stand in the table in another order than in the body."""
    order = np.random.default_rng(9).permutation(len(volumes) * DEEP)
    pictures = [volumes[at // DEEP][at % DEEP] for at in order]
    columns = {name: [value] * len(order) for name, value in said.items()}
    return made(
        folder, source, pictures, series=[f"V{at // DEEP}" for at in order], frame=[str(at % DEEP) for at in order],
        **columns,
    )  # fmt: skip


@pytest.fixture
def run(source: Path, tmp_path: Path) -> Path:
    """Four volumes of 16 bits in HU, coronal from front to back."""
    given = [voxels(seed) for seed in range(4)]
    return run_of(tmp_path / "run", source, given, axes="LIP", spacing_mm="2 3 4", **CT)


def name_of(run: Path, series: str = "V0", frame: int = 0) -> str:
    rows = imagetable.table(run).rows
    return str(rows.filter((pl.col("series") == series) & (pl.col("frame") == str(frame)))["id"][0])


def file_of(run: Path, series: str = "V0", frame: int = 0) -> Path:
    rows = imagetable.table(run).rows
    row = rows.filter((pl.col("series") == series) & (pl.col("frame") == str(frame))).row(0, named=True)
    return run / "candidate" / str(row["file"])


def image_of(run: Path, series: str = "V0") -> Any:
    images = Images(run, "all")
    data = volume.packed(images, volume.of(images, name_of(run, series, 3)))
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def edited(run: Path, **columns: Any) -> None:
    """Write other values into columns of the table."""
    path = run / "candidate" / "labels.csv"
    pl.read_csv(path, infer_schema=False).with_columns(**columns).write_csv(path)


# ------------------------------------------------------------------------------------------------- the file


def test_every_voxel_stands_where_its_slice_says(run: Path) -> None:
    for number in (0, 3):
        image = image_of(run, f"V{number}")
        assert image.shape == (WIDE, HIGH, DEEP)
        stored = np.asarray(image.dataobj.get_unscaled())
        assert stored.dtype == np.uint16
        assert np.array_equal(stored.transpose(2, 1, 0), voxels(number))


def test_spacing_directions_and_units_are_those_of_the_table(run: Path) -> None:
    image = image_of(run)
    assert nibabel.aff2axcodes(image.affine) == ("L", "I", "P")
    assert image.header.get_zooms() == (2.0, 3.0, 4.0)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(image.affine @ [(WIDE - 1) / 2, (HIGH - 1) / 2, (DEEP - 1) / 2, 1], [0, 0, 0, 1])
    assert np.allclose(image.affine @ [1, 0, 0, 1] - image.affine @ [0, 0, 0, 1], [-2, 0, 0, 0])
    assert np.allclose(image.get_qform(), image.affine, atol=1e-5)
    assert np.allclose(image.get_fdata()[1, 2, 3], -1000 + int(voxels()[3, 2, 1]) * 3000 / 65535, atol=1e-3)


def test_the_header_says_that_this_is_no_patient(run: Path, source: Path, tmp_path: Path) -> None:
    header = image_of(run).header
    assert bytes(header["descrip"]).rstrip(b"\0") == b"synthetic data, not a patient"
    assert bytes(header["intent_name"]).rstrip(b"\0") == b"synthetic data"
    plain = run_of(tmp_path / "plain", source, [voxels(5, np.uint8)], axes="LPS")
    image = image_of(plain)
    assert bytes(image.header["descrip"]).startswith(b"synthetic data, not a patient; geometry assumed")
    assert image.header.get_xyzt_units()[0] == "unknown"
    assert image.header.get_zooms() == (1.0, 1.0, 1.0)
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), voxels(5, np.uint8))


def test_the_house_reads_its_own_volume_as_the_same_slices(source: Path, tmp_path: Path) -> None:
    given = voxels(6)
    given[0, 0, 0], given[-1, -1, -1] = 0, 65535  # so that the reader's range is the whole
    folder = run_of(tmp_path / "run", source, [given], axes="LPS", spacing_mm="2 3 4")
    path = tmp_path / "again.nii.gz"
    images = Images(folder, "all")
    path.write_bytes(volume.packed(images, volume.of(images, name_of(folder))))
    found = dict(nifti.read(path))
    assert found["0"].fields == {"slice": "0", "axes": "LPS", "spacing_mm": "2 3 4"}
    assert np.array_equal(np.stack([image.pixels for image in found.values()]), given)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LIP", "PSR", "ASL"])
def test_axes_are_those_that_nibabel_reads(axes: str) -> None:
    found = Geometry(axes=axes, spacing=(1.0, 2.0, 3.0)).affine(4, 5, 6)
    assert "".join(nibabel.aff2axcodes(found)) == axes
    assert np.allclose(np.linalg.norm(found[:3, :3], axis=0), [1, 2, 3])


@pytest.mark.parametrize(
    "row",
    [
        {"axes": "LPL"}, {"axes": "XYZ"}, {"axes": "LP"}, {"spacing_mm": "1 2"}, {"spacing_mm": "1 2 0"},
        {"spacing_mm": "1 2 nan"}, {"units": "HU"}, {"units": "HU", "units_black": "5", "units_white": "5"},
    ],
)  # fmt: skip
def test_a_geometry_that_makes_no_sense_is_refused_by_name(row: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^(axes|spacing_mm|units_\w+): "):
        geometry.of(row)


def test_a_file_is_made_once_and_again_when_a_slice_changes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(run, "all")
    read: list[str] = []
    plain = imagetable.checked
    monkeypatch.setattr(imagetable, "checked", lambda where, row: read.append(row["id"]) or plain(where, row))
    found = volume.of(images, name_of(run))
    first = volume.packed(images, found)
    assert volume.packed(images, found) is first
    assert len(read) == DEEP
    monkeypatch.setattr(volume, "KEPT", len(first) + 10)
    volume.packed(images, volume.of(images, name_of(run, "V1")))
    assert sum(map(len, volume._shelf._files.values())) <= len(first) + 10  # the older one went
    assert volume.packed(images, found) == first  # made again, the same bytes
    assert len(read) == 3 * DEEP
    file_of(run, frame=4).write_bytes(file_of(run, frame=2).read_bytes())
    with pytest.raises(HubError, match="not those that were measured"):
        volume.packed(images, found)


# ----------------------------------------------------------------------------------------------- who gets it


def test_a_volume_is_given_with_its_digest_and_not_twice(client: TestClient, run: Path) -> None:
    name = registers(client, run)
    path = f"/catalogue/{name}/volume/{name_of(run, frame=2)}"
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/gzip")
    assert answer.headers["cache-control"] == "private, no-cache"
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(
        f"/catalogue/{name}/volume/{name_of(run, 'V1')}", headers={"if-none-match": answer.headers["etag"]}
    )
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("tier", "status"), [("open", 200), ("gated", 403), ("safe_zone", 403), ("", 403), (None, 404)]
)
def test_only_who_may_see_every_slice_gets_the_volume(
    client: TestClient, served: Hub, source: Path, tmp_path: Path, tier: str | None, status: int
) -> None:
    run = run_of(tmp_path / "run", source, [voxels(seed) for seed in range(6)], axes="LPS")
    name = registers(client, run)
    if tier is not None:
        approved(served, name, tier or "open", keep=bool(tier))
    paths = [f"/catalogue/{name}/volume/{{}}", f"/catalogue/{name}/images/{{}}/volume"]
    signs_in(client, "song")
    rows = imagetable.visible(Images(run, "sample"))
    whole = rows["series"].unique().to_list()
    assert len(whole) == 2  # of a set that is not open, in a sample: with 14 slices, of 20 that a sample has
    other = next(f"V{k}" for k in range(6) if f"V{k}" not in whole)
    ids = [name_of(run, other), name_of(run, other, 4)]
    assert {client.get(path.format(one)).status_code for path in paths for one in ids} == {status}
    sampled = 200 if tier else status
    assert {client.get(path.format(rows["id"][k])).status_code for path in paths for k in (0, -1)} == {sampled}
    signs_in(client, "kim")
    assert {client.get(path.format(ids[0])).status_code for path in paths} == {200}


def test_of_a_gated_set_frames_outside_the_sample_stay_hidden(
    client: TestClient, served: Hub, source: Path, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run", source, [voxels(seed) for seed in range(6)], axes="LPS")
    name = registers(client, run)
    approved(served, name, "gated")
    signs_in(client, "song")
    shown = imagetable.visible(Images(run, "sample"))["id"].to_list()
    assert len(shown) == 2 * DEEP
    for one in shown:
        answer = client.get(f"/catalogue/{name}/frames/{one}")
        assert answer.headers["x-frames"] == answer.headers["x-length"] == str(DEEP)
    hidden = next(one for one in imagetable.table(run).rows["id"] if one not in shown)
    assert client.get(f"/catalogue/{name}/frames/{hidden}").status_code == 403


def broken(run: Path, how: str) -> None:
    """Let one thing be wrong with the volume V0."""
    of_frame = (pl.col("series") == "V0") & (pl.col("frame") == "4")
    if how == "digest":
        file_of(run, frame=4).write_bytes(file_of(run, frame=3).read_bytes())
    elif how == "damage":
        file_of(run, frame=4).write_bytes(file_of(run, frame=4).read_bytes()[:60])
    elif how == "gone":
        file_of(run, frame=4).unlink()
    elif how == "gap":
        edited(run, frame=pl.when(of_frame).then(pl.lit("40")).otherwise("frame"))
    elif how == "geometry":
        edited(run, axes=pl.when(of_frame).then(pl.lit("RAS")).otherwise("axes"))
    elif how == "spacing":
        edited(run, spacing_mm=pl.lit("thick"))


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("digest", 409, "not those that were measured"), ("damage", 409, "not those that were measured"),
        ("gone", 404, "is not in the set"), ("gap", 409, "do not follow each other"),
        ("geometry", 409, "slices of one volume say different things"), ("spacing", 409, "spacing_mm: 'thick'"),
    ],
)  # fmt: skip
def test_no_part_of_a_broken_volume_is_given(client: TestClient, run: Path, how: str, status: int, said: str) -> None:
    name = registers(client, run)
    client.get("/language/en")
    which = name_of(run)
    broken(run, how)
    answer = client.get(f"/catalogue/{name}/volume/{which}")
    assert answer.status_code == status
    assert said in answer.text.replace("&#39;", "'")
    assert client.get(f"/catalogue/{name}/volume/{name_of(run, 'V1')}").status_code == (
        409 if how == "spacing" else 200
    )


def test_what_cannot_be_stacked_is_said_on_the_page_with_a_way_to_the_slices(
    client: TestClient, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = [np.dstack([one] * 3) for one in voxels(1, np.uint8)]
    columns = {"series": ["V0"] * DEEP, "frame": [str(k) for k in range(DEEP)], "axes": ["LPS"] * DEEP}
    name = registers(client, made(tmp_path / "colour", source, colour, **columns))
    page = client.get(f"/catalogue/{name}/images/S000001/volume")
    assert page.status_code == 200
    assert "컬러 볼륨" in page.text
    assert f'href="/catalogue/{name}/images/S000001#picture"' in page.text
    assert client.get(f"/catalogue/{name}/frames/S000001").status_code == 409
    name = registers(client, made(tmp_path / "large", source, list(voxels()), **columns))
    monkeypatch.setattr(volume, "LARGEST", DEEP * HIGH * WIDE * 2 - 1)
    assert "너무 커서" in client.get(f"/catalogue/{name}/images/S000001/volume").text
    assert client.get(f"/catalogue/{name}/volume/S000001").status_code == 409
    monkeypatch.setattr(volume, "LARGEST", DEEP * HIGH * WIDE * 2)
    assert client.get(f"/catalogue/{name}/volume/S000001").status_code == 200
    uneven = [*voxels()[:-1], voxels()[-1][:, 1:]]
    run = made(tmp_path / "uneven", source, uneven, **columns)
    with pytest.raises(HubError, match="another size"):
        volume.packed(Images(run, "all"), volume.of(Images(run, "all"), "S000001"))


def test_a_film_and_a_single_picture_are_no_volumes(source: Path, tmp_path: Path) -> None:
    film = run_of(tmp_path / "film", source, [voxels()])
    single = made(tmp_path / "single", source, list(voxels()), axes=["LPS"] * DEEP)
    for folder in (film, single):
        with pytest.raises(NotThereError):
            volume.of(Images(folder, "all"), "S000000")
    with pytest.raises(NotAllowedError):
        volume.of(Images(film, "none"), "S000000")


# --------------------------------------------------------------------------------------------------- films


def test_frames_come_in_their_order_in_as_many_pieces_as_they_need(
    client: TestClient, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registers(client, run)
    path = f"/catalogue/{name}/frames/{name_of(run, frame=5)}"
    whole = client.get(path)
    assert {key: whole.headers[f"x-{key}"] for key in ("width", "height", "frames", "length")} == {
        "width": str(WIDE), "height": str(HIGH), "frames": str(DEEP), "length": str(DEEP),
    }  # fmt: skip
    assert np.array_equal(np.frombuffer(whole.content, "<u2").reshape(DEEP, HIGH, WIDE), voxels())
    monkeypatch.setattr(pages, "BUNDLE", 3 * HIGH * WIDE * 2)
    parts, first = [], 0
    while first < DEEP:
        answer = client.get(f"{path}?first={first}")
        parts.append(answer.content)
        first += int(answer.headers["x-frames"])
    assert [len(part) // (HIGH * WIDE * 2) for part in parts] == [3, 3, 1]
    assert b"".join(parts) == whole.content
    assert client.get(f"{path}?first={DEEP}").headers["x-frames"] == "0"
    assert client.get(f"{path}?first=-1").status_code == 422
    broken(run, "digest")  # frame 4
    assert [client.get(f"{path}?first={first}").status_code for first in (0, 3, 5)] == [200, 409, 200]


def test_stages_are_shown_where_the_label_changes(client: TestClient, source: Path, tmp_path: Path) -> None:
    film = made(tmp_path / "film", source, list(voxels()), series=["F"] * DEEP, frame=[str(k) for k in range(DEEP)])
    name = registers(client, film)
    page = client.get(f"/catalogue/{name}/images/S000000").text
    assert re.findall(r'data-first="(\d)" data-count="(\d)"', page) == [(str(k), "1") for k in range(DEEP)]
    edited(film, label=pl.lit("left"))
    assert 'id="stages"' not in client.get(f"/catalogue/{name}/images/S000000").text


# ----------------------------------------------------------------------------------- NiiVue and where it is not


def test_without_niivue_the_page_says_so_and_leads_to_the_slices(
    client: TestClient, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor, "FOLDER", tmp_path)
    tmp_path = tmp_path / "niivue"
    tmp_path.mkdir()
    name = registers(client, run)
    page = client.get(f"/catalogue/{name}/images/{name_of(run)}/volume")
    assert page.status_code == 200
    assert "설치되어 있지 않습니다" in page.text
    assert "<script" not in page.text
    assert f'href="/catalogue/{name}/images/{name_of(run)}#picture"' in page.text
    assert client.get("/vendor/niivue/niivue.umd.js").status_code == 404
    (tmp_path / "VERSION").write_text("9.9.9\n")
    (tmp_path / "niivue.umd.js").write_text("")
    assert vendor.installed("niivue") == ""  # not without its licences
    (tmp_path / "LICENCES.txt").write_text("")
    assert vendor.installed("niivue") == "9.9.9"
    page = client.get(f"/catalogue/{name}/images/{name_of(run)}/volume").text
    assert "/vendor/niivue/niivue.umd.js?v=9.9.9" in page
    for wild in ("VERSION", "..%2fvolume.py", "other.js"):
        assert client.get(f"/vendor/niivue/{wild}").status_code == 404


def test_the_page_of_a_volume_needs_no_wider_policy_than_the_others(client: TestClient, run: Path) -> None:
    name = registers(client, run)
    for path in (
        "/catalogue",
        f"/catalogue/{name}/images/{name_of(run)}",
        f"/catalogue/{name}/images/{name_of(run)}/volume",
    ):
        answer = client.get(path)
        assert answer.headers["content-security-policy"] == guard.POLICY
        assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)
        assert not re.search(r"<script(?![^>]*src=)", answer.text)
    assert "unsafe-eval" not in guard.POLICY
    assert re.search(r"script-src 'self';", guard.POLICY)


needs_niivue = pytest.mark.skipif(
    not vendor.installed("niivue"), reason="NiiVue is not installed: `make setup` brings it where npm is"
)


@needs_niivue
def test_the_installed_niivue_is_the_pinned_one_with_all_its_licences() -> None:
    pinned = json.loads((ROOT / "javascript" / "package.json").read_bytes())["devDependencies"]["@niivue/niivue"]
    assert vendor.installed("niivue") == pinned
    locked = json.loads((ROOT / "javascript" / "package-lock.json").read_bytes())["packages"]
    told = (vendor.FOLDER / "niivue" / "LICENCES.txt").read_text(encoding="utf-8")
    carried, waiting = set(), ["@niivue/niivue"]
    while waiting:
        carried.add(name := waiting.pop())
        waiting += set(locked[f"node_modules/{name}"].get("dependencies", {})) - carried
    assert len(carried) > 10
    for name in carried:
        assert f"{name} {locked[f'node_modules/{name}']['version']} (" in told, name


def test_nothing_of_niivue_is_in_the_repository() -> None:
    assert "src/chambit/web/vendor/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "src/chambit/web/vendor" in (ROOT / "pyproject.toml").read_text()


# ------------------------------------------------------------------------- how the set knows where it lies


def test_drawn_bodies_say_how_they_lie(tmp_path: Path) -> None:
    options = body.Options(plane="coronal", slices=8, modality="CT")
    row = body.draw(tmp_path / "a", 0, 1, 32, 3, options)[0]
    found = geometry.of(row)
    assert (found.axes, found.units, found.black, found.white) == ("LIP", "HU", -160, 240)
    assert np.allclose(found.spacing, [1070 / 32, 1070 / 32, 2 * 0.8 * 168 / 8], rtol=1e-4)
    row = body.draw(tmp_path / "b", 0, 1, 32, 3, body.Options(plane="axial", slices=8, field="trunk"))[0]
    found = geometry.of(row)
    assert (found.axes, found.units) == ("LPI", "")
    assert np.allclose(found.spacing, [2 * 235 / 32, 2 * 235 / 32, 640 / 8], rtol=1e-4)


def test_what_all_training_images_agree_on_holds_for_those_drawn(tmp_path: Path) -> None:
    store = Store(tmp_path)
    block, digests = imageset.put_block(store, voxels())
    table = pl.DataFrame({"id": [f"R{k}" for k in range(DEEP)], "subject": ["p"] * DEEP, "label": ["x"] * DEEP})
    table = table.with_columns(
        sha256=pl.Series(digests), block=pl.lit(block), row=pl.int_range(DEEP), axes=pl.lit("LPS"), units=pl.lit(""),
        spacing_mm=pl.Series(["1 1 3"] * (DEEP - 1) + ["1 1 5"]),
    )  # fmt: skip
    images = ImageSet(store, table)
    assert conditions._geometry(images) == {"axes": "LPS"}
    assert "axes" in refining.recorded(images, images, []).table.columns
    changed = refining.recorded(images, images, [{"name": "crop", "options": {}}])
    assert not set(geometry.COLUMNS) & set(changed.table.columns)


# ------------------------------------------------------------------------------------------- in the browser


AXE = ROOT / "javascript" / "node_modules" / "axe-core" / "axe.min.js"
SOFTWARE = ["--enable-unsafe-swiftshader", "--use-gl=angle", "--use-angle=swiftshader"]


def ball() -> np.ndarray:
    """A bright ball in the dark, with a brighter corner that is the patient's left, front and head."""
    z, y, x = np.mgrid[:24, :32, :32]
    inside = ((z - 11.5) / 10) ** 2 + ((y - 15.5) / 13) ** 2 + ((x - 15.5) / 13) ** 2 < 1
    return (inside * 30000 + (z * 300)).astype(np.uint16)


@pytest.fixture(scope="module")
def looking(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a graphics card, signed in before a hub with an open set of volumes and one of films."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from test_browser import QUIET, Served

    place = tmp_path_factory.mktemp("looking")
    (place / "hub").mkdir()
    (place / "hub" / "hub.yaml").write_text("limits: {requests: 5000, logins: 500}\n")
    hub = Hub.open(place / "hub")
    for login in ("kim", "song"):
        accounts.create(hub.database, trail.HUB, login, login.title(), LOGINS[login], PASSWORD)
    frames = [str(k) for k in range(24)]
    told = {"axes": ["LPS"] * 24, "spacing_mm": ["2 2 3"] * 24, **{name: [value] * 24 for name, value in CT.items()}}
    sets = {
        "volume": made(place / "volume", source, list(ball()), series=["V0"] * 24, frame=frames, **told),
        "film": made(place / "film", source, list(ball()[:8]), series=["F0"] * 8, frame=frames[:8]),
    }
    edited(sets["film"], label=pl.Series(["1-cell"] * 2 + ["2-cell"] * 6))
    verdict = json.loads((sets["film"] / "verdict.json").read_bytes())
    verdict["candidate"] = runs.candidate_digest(sets["film"])
    (sets["film"] / "verdict.json").write_text(json.dumps(verdict))
    names = {}
    for key, folder in sets.items():
        names[key] = studies.register(hub.database, trail.HUB, runs.read(folder), "draft").id
        approved(hub, names[key], "open")
    hub.database.close()
    served = Served(place / "hub")
    with sync_api.sync_playwright() as play:
        args = [*(one for one in QUIET if one != "--disable-gpu"), *SOFTWARE]
        browser = play.chromium.launch(executable_path=chromium, args=args)
        page = browser.new_context(viewport={"width": 1100, "height": 800}).new_page()
        page.set_default_timeout(30_000)
        page.wrong, page.asked = [], []
        page.on("console", lambda said: said.type == "error" and page.wrong.append(said.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("request", lambda one: page.asked.append(one.url))
        page.goto(f"{served.base}/login")
        page.fill("[name=login]", "song")
        page.fill("[name=password]", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        page.sets, page.base = names, served.base
        yield page
        browser.close()
    served.stop()


def barriers(page: Any) -> list[str]:
    """What axe-core finds serious on the page."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: `make setup` brings it where npm is")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})")
    return [f"{one['id']}: {one['help']}" for one in told["violations"] if one["impact"] in ("serious", "critical")]


def drawn(page: Any) -> np.ndarray:
    """What stands on the canvas, float (rows, columns)."""
    import io

    page.wait_for_timeout(150)
    picture = Picture.open(io.BytesIO(page.locator("#volume").screenshot())).convert("L")
    return np.asarray(picture, float)


def panes(pixels: np.ndarray) -> list[np.ndarray]:
    high, wide = pixels.shape[0] // 2, pixels.shape[1] // 2
    return [pixels[y : y + high, x : x + wide] for y in (0, high) for x in (0, wide)]


@needs_niivue
def test_four_panes_are_drawn_by_software_and_nothing_is_asked_elsewhere(looking: Any) -> None:
    page = looking
    page.goto(f"{page.base}/catalogue/{page.sets['volume']}/images/S000000/volume")
    page.wait_for_selector("#volume[data-ready=yes]")
    at_first = drawn(page)
    for pane in panes(at_first):
        assert (pane > 60).mean() > 0.05
        assert pane.std() > 15
    assert page.inner_text("#where").startswith("시상면 17/32 · 관상면 17/32 · 축상면 13/24 · 값 ")
    value = int(page.inner_text("#where").rsplit(" ", 2)[1].replace(",", ""))
    assert abs(value - (-1000 + int(ball()[12, 15, 15]) * 3000 / 65535)) < 2
    names = page.locator("[data-pane]:not([hidden])").all_inner_texts()
    assert sorted(names) == sorted(["축상면", "관상면", "시상면", "입체"])
    assert {urlsplit(url).netloc for url in page.asked if urlsplit(url).scheme != "data"} == {
        urlsplit(page.base).netloc
    }
    assert page.wrong == []
    assert barriers(page) == []


@needs_niivue
def test_a_volume_is_looked_at_by_keyboard_alone(looking: Any) -> None:
    page = looking
    page.goto(f"{page.base}/catalogue/{page.sets['volume']}/images/S000003/volume")
    page.wait_for_selector("#volume[data-ready=yes]")
    before = drawn(page)
    page.focus("#volume")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "PageDown"):
        page.keyboard.press(key)
    assert page.inner_text("#where").startswith("시상면 15/32 · 관상면 16/32 · 축상면 14/24")
    rests(page, "document.getElementById('said').textContent.includes('축상면 14/24')")
    assert np.abs(drawn(page) - before).max() > 50
    page.focus("#at-axial")
    page.keyboard.press("End")
    assert "축상면 24/24" in page.inner_text("#where")
    windows = page.locator("[data-level]").all_inner_texts()
    assert windows == ["폐", "연부조직", "뼈", "자동", "전체 범위"]
    page.get_by_role("button", name="뼈").press("Enter")
    assert (page.inner_text("#told-level"), page.inner_text("#told-width")) == ("400", "1800")
    page.get_by_role("button", name="전체 범위").press("Enter")
    assert (page.inner_text("#told-level"), page.inner_text("#told-width")) == ("500", "3000")
    page.focus("#volume")
    page.keyboard.press("5")
    rests(
        page,
        "[...document.querySelectorAll('[data-pane]')].every(one => one.hidden === (one.dataset.pane !== 'render'))",
    )
    still = drawn(page)
    page.keyboard.press("Shift+ArrowLeft")
    assert np.abs(drawn(page) - still).max() > 20
    page.keyboard.press("h")  # NiiVue's own keys are not let through
    page.keyboard.press("r")
    assert "축상면 13/24" in page.inner_text("#where")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "volume"  # no trap
    assert page.wrong == []


@needs_niivue
def test_dragging_with_the_right_button_sets_the_window(looking: Any) -> None:
    page = looking
    page.goto(f"{page.base}/catalogue/{page.sets['volume']}/images/S000000/volume")
    page.wait_for_selector("#volume[data-ready=yes]")
    before = page.inner_text("#told-level"), page.inner_text("#told-width")
    box = page.locator("#volume").bounding_box()
    x, y = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 40, y + 30, steps=6)
    page.mouse.up(button="right")
    after = page.inner_text("#told-level"), page.inner_text("#told-width")
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert page.wrong == []


def frame(page: Any) -> int:
    return int(page.inner_text("#frame").split(" / ")[0])


def test_a_film_is_played_by_keyboard_alone(looking: Any) -> None:
    page = looking
    page.asked.clear()
    page.goto(f"{page.base}/catalogue/{page.sets['film']}/images/S000000#picture")
    page.wait_for_selector("#picture[data-ready=all]")
    assert sum("/frames/" in url for url in page.asked) == 1  # all frames at once
    assert page.evaluate("document.activeElement.id") == "picture"
    for key, expected in (("]", 2), ("End", 8), ("]", 8), ("Home", 1), ("PageDown", 3), ("PageUp", 1)):
        page.keyboard.press(key)
        assert frame(page) == expected, key
    assert page.locator("#stages [aria-current]").all_inner_texts() == ["1-cell"]
    for _ in range(9):
        page.keyboard.press(".")
    assert page.input_value("#rate") == "24"
    page.keyboard.press("l")
    assert not page.is_checked("#loop")
    began = time.perf_counter()
    page.keyboard.press("Space")
    rests(page, "document.getElementById('play').getAttribute('aria-pressed') === 'false'")
    assert frame(page) == 8  # once, to its end
    assert time.perf_counter() - began < 4
    assert page.locator("#stages [aria-current]").all_inner_texts() == ["2-cell"]
    assert page.inner_text("#now-label") == "2-cell"
    page.keyboard.press("l")
    for _ in range(9):
        page.keyboard.press(",")
    assert page.input_value("#rate") == "1"
    page.keyboard.press("Space")
    rests(page, "document.getElementById('frame').textContent.startsWith('1 ')")  # round again
    page.keyboard.press("Space")
    assert page.get_attribute("#play", "aria-pressed") == "false"
    assert page.wrong == []
    assert barriers(page) == []


def test_who_wants_little_motion_gets_it_slow_and_once(looking: Any) -> None:
    page = looking
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{page.base}/catalogue/{page.sets['film']}/images/S000000")
    page.wait_for_selector("#picture[data-ready=all]")
    assert (page.input_value("#rate"), page.is_checked("#loop")) == ("1", False)
    assert page.get_attribute("#play", "aria-pressed") == "false"  # nothing moves unasked
    page.emulate_media(reduced_motion="no-preference")
