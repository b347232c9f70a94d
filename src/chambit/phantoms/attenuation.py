"""Line integrals of attenuation through a phantom: one map of mu * thickness for everything a ray crosses.

    tau(x, y) = mu_soft * (body - air) + mu_bone * bone,   air = AIRINESS * lung depth * (1 - heart) * ...

Source: Beer-Lambert attenuation, Bushberg et al., The Essential Physics of Medical Imaging (3rd ed., 2011),
chapter 3; coefficients are effective values for about 120 kVp. Ribs are the edges of tilted ellipses seen
from the front: the posterior half of rib i runs at y_i - arc * sqrt(1 - u**2), the anterior half at y_i +
arc * sqrt(1 - u**2), with u the distance from the spine over the half width of the chest; a bone is a
hollow tube, so its edges are brightest. Thicknesses are in cm, places in image widths.

Limits: a ray's organs do not displace one another except lung; no depth, so nothing is magnified.
"""

from typing import Final, NamedTuple

import numpy as np
from scipy import ndimage

from chambit.phantoms.anatomy import Map, Patient

FIELD_CM: Final = 38.0
MU_SOFT: Final = 0.20  # 1/cm
MU_BONE: Final = 0.36  # 1/cm, what bone adds over the soft tissue it replaces
AIRINESS: Final = 0.74  # share of an inflated lung's path that is air


class Grid(NamedTuple):
    """Where the rays of one image are, in the patient's frame; every map is (n, n) float32.

    Attributes:
        x: Distance from the image's midline.
        y: Height, 0 at the top.
        mid: Distance from the spine, positive on the patient's left.
        far: abs(mid).
        left: Whether a point is on the patient's left, bool.
        forward: (2, 3) affine map from the patient's frame to the image's.
        breath: How far the diaphragm lies below its usual height.
        heart: Factor on the heart's size, above 1 where the detector is behind the back.
        fold: Rays per pixel, one below another; textures are looked up once per pixel.
    """

    x: Map
    y: Map
    mid: Map
    far: Map
    left: np.ndarray
    forward: np.ndarray
    breath: float
    heart: float
    fold: int

    def pair(self, sides: tuple[float, float]) -> Map:
        """Spread a right and a left value over the two sides."""
        spread = self.left * np.float32(sides[1] - sides[0])
        spread += np.float32(sides[0])
        return spread

    def sample(self, texture: Map) -> Map:
        """Look a texture over mid in [-0.7, 0.7] and y in [-0.2, 1.2] up at every point, bilinearly."""
        k, unit = self.fold, (texture.shape[0] - 1) / 1.4
        at = np.stack([(self.y[::k] + 0.2) * unit, (self.mid[::k] + 0.7) * unit])
        found = ndimage.map_coordinates(texture, at, order=1, mode="nearest", output=np.float32)
        return np.asarray(found if k == 1 else found.repeat(k, 0), np.float32)

    def splat(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Map:
        """Share weights at points (x from the image's midline) out among the four nearest pixels."""
        rows, columns = self.x.shape
        a = self.forward
        column = ((a[0, 0] * x + a[0, 1] * y + a[0, 2]) * columns - 0.5).ravel()
        row = ((a[1, 0] * x + a[1, 1] * y + a[1, 2]) * rows - 0.5).ravel()
        keep = (column >= 0) & (column < columns - 1) & (row >= 0) & (row < rows - 1)
        column, row, w = column[keep], row[keep], weight.ravel()[keep]
        c, r = column.astype(np.intp), row.astype(np.intp)
        fc, fr = column - c, row - r
        first = r * columns + c
        at = np.concatenate([first, first + 1, first + columns, first + columns + 1])
        upper, lower = (1 - fr) * w, fr * w
        shares = np.concatenate([upper * (1 - fc), upper * fc, lower * (1 - fc), lower * fc])
        return np.bincount(at, shares, rows * columns).reshape(rows, columns).astype(np.float32)


def attenuate(patient: Patient, grid: Grid, congestion: float) -> tuple[Map, Map]:
    """Project a patient without any finding.

    Args:
        patient: Who is projected.
        grid: Where the rays are, in the patient's frame.
        congestion: Factor on the vessels' thickness, about 1.

    Returns:
        tau (n, n), at least 0, and the air along each ray (n, n) in cm.
    """
    body, wall = _body(patient, grid)
    inside = lung_depth(patient, grid)
    lung_texture = grid.sample(patient.lung)
    left = spared(patient, grid)
    full = np.maximum(body - wall, 0) * inside
    air = AIRINESS * full * left * (1 - 0.05 * lung_texture)
    vessel = _vessels(patient, grid) * (patient.traits["vessels"][0] * congestion)
    air -= np.minimum(vessel * inside, 0.7 * air)
    airway = np.minimum(_airways(patient, grid), 0.3 * body)
    bowel = _abdomen(patient, grid, inside)
    bone = _ribs(patient, grid) + _spine(patient, grid) + _girdle(patient, grid)
    tau = MU_SOFT * np.maximum(body - air - airway - bowel, 0) + MU_BONE * bone * np.minimum(body / 3, 1)
    return tau.astype(np.float32), air.astype(np.float32)


def spine_curve(patient: Patient, y: np.ndarray) -> np.ndarray:
    """Return how far the spine at heights y, of any shape, lies from the image's midline."""
    t = patient.traits
    broad, narrow = np.cos((y - t["scoliosis_at"][0]) * 4), np.sin((y - 0.4) * 8)
    return t["scoliosis"][0] * broad + t["scoliosis_s"][0] * narrow


def lung_depth(patient: Patient, grid: Grid) -> Map:
    """Return the lungs' depth, heart ignored, as a share (n, n) in [0, 1] of the room in the chest wall."""
    lateral, medial, top, base = lung_margins(patient, grid)
    rise = _onset(lateral, 0.09) * _onset(medial, 0.05) * _onset(top, 0.17) * _onset(base, 0.07)
    return np.asarray(np.sqrt(rise), np.float32)


def lung_margins(patient: Patient, grid: Grid) -> tuple[Map, Map, Map, Map]:
    """Return the distances (n, n) inwards from the lungs' lateral, medial, upper and lower margins."""
    t, far = patient.traits, grid.far
    apex_y, apex_x, width = grid.pair(t["apex_y2"]), grid.pair(t["apex_x2"]), grid.pair(t["lung_w2"])
    v = (grid.y - apex_y) / (0.72 - apex_y)
    s = np.clip(1 - v / 0.8, 0, 1) ** 2
    lateral = apex_x + (width - apex_x) * np.sqrt((1 - s) * (1 + grid.pair(t["lung_top2"]) * s))
    lateral -= grid.pair(t["waist2"]) * np.clip((v - 0.7) / 0.3, 0, 1.2) ** 2
    s = np.clip(1 - v / 0.33, 0, 1) ** 2
    medial = apex_x - (apex_x - grid.pair(t["lung_m2"])) * np.sqrt(1 - s)
    base = diaphragm(patient, grid)
    return lateral - far, far - medial, grid.y - apex_y, base - grid.y


def diaphragm(patient: Patient, grid: Grid) -> Map:
    """Return the height y (n, n) of the diaphragm above or below each point."""
    t, far = patient.traits, grid.far
    summit, width = grid.pair(t["dome_x2"]), grid.pair(t["lung_w2"])
    outside = far > summit
    u = np.where(outside, (far - summit) / (width - summit), (summit - far) / summit) ** 2
    fall = np.where(outside, grid.pair(t["dome_drop2"]), grid.pair(t["dome_medial2"]))
    return np.asarray(grid.pair(t["dome2"]) + grid.breath + fall * u * (0.6 + 0.4 * u), np.float32)


def _onset(d: np.ndarray, width: float) -> Map:
    c = np.clip(d * (1 / width), 0, 1)
    return np.asarray(c * (2 - c), np.float32)


def _ramp(d: np.ndarray, width: float) -> Map:
    return np.asarray(np.clip(d * (1 / width) + 0.5, 0, 1), np.float32)


def _ball(grid: Grid, x: float, y: float, a: float, b: float, angle: float = 0.0, sag: float = 1.0) -> Map:
    """Depth (n, n) in [0, 1] of an ellipsoid, a along the angle (rad), its lower half stretched by sag."""
    c, s = np.cos(angle), np.sin(angle)
    dx, dy = grid.mid - x, grid.y - y
    if sag != 1.0:
        dy = np.where(dy > 0, dy * np.float32(1 / sag), dy)
    r2 = (dx * float(c / a) + dy * float(s / a)) ** 2 + (dy * float(c / b) - dx * float(s / b)) ** 2
    return np.asarray(np.sqrt(np.maximum(1 - r2, 0)), np.float32)


def _tube(d: Map, h: float | Map, core: float = 0.72, marrow: float = 0.75) -> Map:
    """Cortical path (cm) at distance d from the axis of a hollow tube of half width h."""
    h2, d2 = h * h, d * d
    outer = np.sqrt(np.maximum(h2 - d2, 0))
    return np.asarray((2 * FIELD_CM) * (outer - marrow * np.sqrt(np.maximum(core * core * h2 - d2, 0))), np.float32)


def _body(patient: Patient, grid: Grid) -> tuple[Map, float]:
    """Soft-tissue depth (n, n) in cm, without organs, and the depth of the chest wall in cm."""
    t, y = patient.traits, grid.y
    depth, wall = t["depth"][0], t["wall"][0]
    narrow = 1 / (1 + np.exp((t["axilla"][0] - y) * (1 / 0.045)))
    half = 0.66 + (t["torso"][0] - 0.66) * narrow + 0.02 * np.clip(y - 0.55, 0, 1)
    across = np.minimum(np.abs(grid.x) / half, 1) ** 2
    line = (np.abs(grid.x) - t["neck"][0]) * grid.pair(t["shoulder_slope2"])
    line += grid.pair(t["shoulder2"]) - 0.1 * np.clip(1 - np.abs(grid.x) / t["neck"][0], 0, 1)
    below = np.clip((y - line) * (1 / 0.17), 0, 1)
    lower = 1 + 0.10 * np.clip((y - 0.55) / 0.3, 0, 1)
    body = depth * lower * np.sqrt((1 - across**3) * below * (2 - below))
    body *= 1 + 0.025 * t["texture"][0] * grid.sample(patient.soft)
    if t["breast"][0] > 0:
        body += t["breast"][0] * _breasts(patient, grid)
    return body, wall


def _breasts(patient: Patient, grid: Grid) -> Map:
    t, far = patient.traits, grid.far
    r = grid.pair(t["breast_r2"])
    dx, dy = (far - grid.pair(t["breast_x2"])) / r, (grid.y - grid.pair(t["breast_y2"])) / r
    # a breast hangs: its upper half tapers off slowly and its lower edge is sharp
    dy = np.where(dy < 0, dy * 0.5, dy)
    r2 = dx * dx + dy * dy
    nipple = grid.pair(t["nipple2"]) * (np.maximum(1 - 150 * ((dx - 0.2) ** 2 + (dy - 0.45) ** 2), 0))
    return np.asarray(np.sqrt(np.maximum(1 - r2, 0)) + 0.5 * nipple, np.float32)


def spared(patient: Patient, grid: Grid) -> Map:
    """Share (n, n) of the lungs' depth that heart, great vessels and hila leave to the lung."""
    t = patient.traits
    drop = 0.35 * grid.breath
    hx, hy, hw, hh = (
        t["heart_x"][0],
        t["heart_y"][0] + drop,
        t["heart_w"][0] * grid.heart,
        t["heart_h"][0] * grid.heart,
    )
    heart = np.maximum(
        _ball(grid, hx, hy, 1.15 * hw, hh, t["heart_tilt"][0], 1.35),
        _ball(grid, -0.012, t["atrium_y"][0] + drop, t["atrium"][0] * grid.heart, 0.150, 0.0, 1.4),
    )
    trunk = _ball(grid, 0.055, t["knob_y"][0] + 0.105, t["trunk"][0], 0.075, -0.3)
    knob = _ball(grid, t["knob_x"][0], t["knob_y"][0], t["knob_r"][0], 1.15 * t["knob_r"][0])
    pedicle = _ball(grid, 0.0, 0.30, t["vascular_pedicle"][0] * grid.heart, 0.24)
    left = 1 - 0.30 * t["aorta"][0] * _onset(0.025 - np.abs(grid.mid - 0.048), 0.02) * _ramp(
        grid.y - t["knob_y"][0], 0.05
    )
    left *= (1 - 0.82 * np.sqrt(heart)) * (1 - 0.55 * trunk) * (1 - 0.72 * np.sqrt(knob)) * (1 - 0.72 * pedicle)
    x, y = grid.pair(t["hilum_x2"]), grid.pair(t["hilum_y2"])
    r2 = ((grid.far - x) * (1 / 0.034)) ** 2 + ((grid.y - y) * (1 / 0.062)) ** 2
    return left * (1 - grid.pair(t["hilum2"]) * np.exp(-r2))


def _airways(patient: Patient, grid: Grid) -> Map:
    """Air (n, n) in cm of trachea and main bronchi."""
    t = patient.traits
    r, x, end = t["trachea"][0], t["trachea_x"][0], t["carina"][0]
    d = grid.mid - x - 0.02 * np.clip(grid.y - 0.1, 0, 1)
    pipe = np.sqrt(np.maximum(r * r - d * d, 0)) * _ramp(end - grid.y, 0.02)
    across, along = np.abs(d), grid.y - end + 0.012
    slope = np.where(d > 0, np.float32(0.95), np.float32(0.62))
    d = (across - slope * along) * 0.8
    reach = _ramp(along, 0.02) * _ramp(0.075 - along, 0.05)
    return np.asarray(
        (2 * FIELD_CM) * (pipe + 0.75 * np.sqrt(np.maximum((0.75 * r) ** 2 - d * d, 0)) * reach), np.float32
    )


def _abdomen(patient: Patient, grid: Grid, inside: Map) -> Map:
    """Air (n, n) in cm below the diaphragm, less what the liver adds."""
    t = patient.traits
    top = t["dome2"][1] + grid.breath
    bubble = _ball(grid, t["stomach_x"][0], top + t["stomach_y"][0], 1.5 * t["stomach_r"][0], t["stomach_r"][0], 0.3)
    below = _ramp(grid.y - diaphragm(patient, grid), 0.012)
    liver = _onset(0.22 - grid.x, 0.35) * 10 * t["liver"][0] * below
    return 5.5 * max(t["stomach_air"][0], 0) * bubble * (1 + 0.3 * grid.sample(patient.soft)) * below - liver * (
        1 - inside
    )


def _ribs(patient: Patient, grid: Grid) -> Map:
    """Bone (n, n) in cm of both halves of all ribs."""
    t, y = patient.traits, grid.y
    apex, width = grid.pair(t["apex_y2"]), grid.pair(t["lung_w2"]) + 0.016
    s = np.clip(1 - (y - apex + 0.03) * (1 / 0.5), 0, 1)
    cage = width * np.sqrt(np.maximum(1 - 0.82 * s * s * s, 0.05))
    u = np.minimum(grid.far / cage, 0.9995)
    bow = np.sqrt(1 - u * u)
    arc, tilt = grid.pair(t["rib_arc2"]), grid.pair(t["rib_tilt2"])
    gap, h = grid.pair(t["rib_gap2"]), t["rib_h"][0]
    slope = arc * u / (cage * bow) + tilt
    reach = _ramp(cage - grid.far, 0.01) * _ramp(grid.far - 0.03, 0.02)
    start = grid.pair(t["rib_at2"])
    back = _course(patient, grid, y - start + arc * bow - tilt * grid.far, gap, slope, h, 0)
    arc = grid.pair(t["front_arc2"])
    slope = arc * u / (cage * bow) + 0.5 * tilt
    start = grid.pair(t["front_at2"])
    front = _course(patient, grid, y - start - arc * bow, gap * 1.06, slope, 1.12 * h, 6)
    # anterior ribs end where their cartilage begins, and only seven are seen
    front *= 0.62 * _ramp(u - grid.pair(t["front_end2"]), 0.12)
    # the floating ribs are thin and lie behind the thick upper abdomen
    return np.asarray(t["rib_bone"][0] * reach * (back * (1 - 0.65 * _ramp(y - 0.74, 0.12)) + front), np.float32)


def _course(patient: Patient, grid: Grid, along: Map, gap: Map, slope: Map, h: float, shift: int) -> Map:
    """Bone of one family of parallel ribs: along is the height below the first, slope is dy/dx."""
    phase = along / gap
    order = np.rint(phase)
    last = 11 if shift == 0 else 5
    which = (np.clip(order, 0, last) + (12 * grid.left + np.float32(shift))).astype(np.intp)
    offset, thickness, strength = patient.ribs.reshape(24, 3).T
    d = (phase - order) * gap - offset[which]
    d /= np.sqrt(1 + slope * slope)
    shown = (order >= 0) & (order <= last)
    return np.asarray(_tube(d, h * thickness[which]) * (strength[which] * shown), np.float32)


def _spine(patient: Patient, grid: Grid) -> Map:
    """Bone (n, n) in cm of vertebrae, pedicles and spinous processes."""
    t = patient.traits
    w = t["spine_w"][0] * (0.72 + 0.38 * np.clip(grid.y, 0, 1))
    unit = t["vertebra"][0] * (0.8 + 0.3 * grid.y)
    phase = (grid.y - t["vertebra_at"][0]) / unit
    p = phase - np.rint(phase)
    disc = _onset(np.abs(p) - 0.30, 0.17)
    body = _onset(w * (1 - 0.10 * np.cos(2 * np.pi * p)) - np.abs(grid.mid), 0.016)
    edge = np.exp(-(((np.abs(p) - 0.33) * 16) ** 2))
    pedicle = np.exp(-(((np.abs(grid.mid) - 0.62 * w) / 0.008) ** 2) - ((p + 0.12) * 7) ** 2)
    process = np.exp(-((grid.mid / 0.007) ** 2) - ((p - 0.22) * 6) ** 2)
    return np.asarray(
        0.7 * body * (1.7 - 1.2 * t["disc"][0] * disc + 0.5 * edge) + 0.9 * pedicle + 1.0 * process,
        np.float32,
    )


def _girdle(patient: Patient, grid: Grid) -> Map:
    """Bone (n, n) in cm of clavicles, shoulder blades and heads of the arms."""
    t, far, y = patient.traits, grid.far, grid.y
    u = np.clip((far - 0.03) * (1 / 0.37), -0.1, 1.05)
    wave = grid.pair(t["clavicle_s2"]) * np.sin(2 * np.pi * u)
    axis = grid.pair(t["clavicle_y2"]) - grid.pair(t["clavicle_tilt2"]) * 0.37 * u + wave
    h = t["clavicle_h"][0] * (1.0 + 0.9 * (2 * u - 0.9) ** 2 * 0.5)
    ends = _ramp(far - 0.035, 0.015) * _ramp(0.41 - far, 0.02)
    bone = 1.7 * _tube((y - axis) * 0.96, h) * ends
    x0, y1 = grid.pair(t["scapula_x2"]), grid.pair(t["scapula_y2"])
    edge = x0 + 0.05 - grid.pair(t["scapula_tilt2"]) * (y - 0.1) / 0.3 - 0.3 * np.maximum(y - y1 + 0.05, 0)
    d = far - edge
    blade = _ramp(d, 0.008) * _ramp(0.11 - d, 0.08) * _ramp(y1 - y, 0.03) * _ramp(y - axis - 0.02, 0.05)
    bone += blade * (0.22 + 0.75 * np.exp(-(((d - 0.010) * (1 / 0.009)) ** 2)))
    r2 = ((far - grid.pair(t["humerus_x2"])) / 0.058) ** 2 + ((y - grid.pair(t["humerus_y2"])) / 0.06) ** 2
    head = np.sqrt(np.maximum(1 - r2, 0))
    shaft = _ramp(0.036 - np.abs(far - grid.pair(t["humerus_x2"]) - 0.015 - 0.1 * (y - 0.15)), 0.01)
    shaft *= _ramp(y - grid.pair(t["humerus_y2"]), 0.06)
    return np.asarray(bone + 1.8 * np.maximum(head, 0.8 * shaft), np.float32)


def _vessels(patient: Patient, grid: Grid) -> Map:
    """Blood (n, n) in cm: every segment leaves pi r**2 ds on the pixels it passes, blurred by its radius."""
    rows, columns = grid.x.shape
    total = np.zeros_like(grid.x)
    tree = patient.vessels
    for low, high in ((0, 1), (1, 3), (3, 9)):
        some = tree[(tree[:, 6] >= low) & (tree[:, 6] < high)].astype(np.float64)
        reach = 0.6 * float(np.hypot(some[:, 2], some[:, 3]).max()) * rows
        s = (np.arange(max(int(reach), 3)) + 0.5) / max(int(reach), 3)
        length = np.hypot(some[:, 2], some[:, 3])
        swing = (some[:, 4] * 4 / np.maximum(length, 1e-6))[:, None] * (s * (1 - s))
        x = some[:, 0, None] + some[:, 2, None] * s - swing * some[:, 3, None]
        y = some[:, 1, None] + some[:, 3, None] * s + swing * some[:, 2, None]
        weight = np.broadcast_to((np.pi * some[:, 5] ** 2 * length / s.size)[:, None], x.shape)
        drawn = grid.splat(x + spine_curve(patient, y), y, weight)
        spread = 0.55 * float(some[:, 5].mean())
        total += ndimage.gaussian_filter(drawn, (spread * rows, spread * columns), truncate=2.5)
    return np.asarray((FIELD_CM * rows * columns) * total, np.float32)
