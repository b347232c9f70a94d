// A volume in four panes (axial, coronal, sagittal, rendering), drawn by NiiVue; everything can be done by keyboard too.
// The page has the controls; this file gives them their meaning and says in words what is shown.
import { fetched, trouble } from "./fetched.js";

/* global niivue */
const at = (id) => document.getElementById(id);
const korean = document.documentElement.lang === "ko";
const PLANES = ["sagittal", "coronal", "axial"];  // the planes that lie across x, y and z
const VIEWS = { axial: 0, coronal: 1, sagittal: 2, multi: 3, render: 4 };
const PANES = ["axial", "coronal", "sagittal", null, "render"];
const SETTLED = 400;  // milliseconds of rest after which the place is said
const TURN = 5;  // degrees
// the rendering at first: from the front, a little from above; where nobody knows the front, towards the slices
const FROM = { known: [150, 15], unknown: [170, -60] };
const SHARE = 0.02;  // of the voxels that are not black, darker and brighter than the automatic window
const MOST = 200_000;  // voxels the automatic window looks at
const held = (value, low, high) => Math.min(high, Math.max(low, value));
const round = (value) => (Math.abs(value) < 10 ? Number(value.toFixed(1)) : Math.round(value));

class Volume {
  constructor(canvas) {
    this.canvas = canvas;
    this.range = [Number(canvas.dataset.black), Number(canvas.dataset.white)];
    this.units = canvas.dataset.units;
    this.oriented = Boolean(canvas.dataset.oriented);
    this.names = PLANES.map((plane) => document.querySelector(`label[for=at-${plane}]`).textContent);
    this.nv = new niivue.Niivue({
      isRadiologicalConvention: true, dragAndDropEnabled: false, loadingText: "", logLevel: "error", isColorbar: false,
      crosshairColor: [1, 0.77, 0.24, 0.9], crosshairWidth: 0.5, crosshairWidthUnit: "percent", multiplanarEqualSize: true, show3Dcrosshair: true, fontColor: [0.91, 0.93, 0.95, 1],
      backColor: [0, 0, 0, 1], clipPlaneColor: [0.6, 0.7, 0.8, 0], multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID, multiplanarPadPixels: 4, isNearestInterpolation: false,
      viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "", tileMargin: 0, fontMinPx: 12,
      isOrientationTextVisible: this.oriented,
    });
  }

  async load(bytes) {
    await this.nv.attachToCanvas(this.canvas);
    await this.nv.loadFromArrayBuffer(bytes, this.canvas.dataset.name);
    if (this.nv.volumes.length !== 1) throw new Error("NIfTI");
    this.image = this.nv.volumes[0];
    this.sides = this.image.dimsRAS.slice(1, 4);
    this.auto = this.#automatic();
    this.nv.onLocationChange = () => this.told();
    this.drag("crosshair");
    this.#controls();
    this.#keys();
    this.reset();
  }

  /** As at first: the middle, the automatic window, nothing cut away. */
  reset() {
    const { nv } = this;
    nv.scene.crosshairPos = nv.vox2frac(this.sides.map((side) => Math.floor(side / 2)));
    nv.setPan2Dxyzmm([0, 0, 0, 1]);
    nv.setScale(1);
    nv.setRenderAzimuthElevation(...FROM[this.oriented ? "known" : "unknown"]);
    this.cut(0);
    this.view("multi");
    this.window(...this.auto);
  }

  /** Which panes are shown. */
  view(name) {
    this.nv.setSliceType(VIEWS[name]);
    document.querySelector(`input[name=view][value=${name}]`).checked = true;
    this.told();
  }

  /** What dragging with the left button or one finger does; the right one always sets the window. */
  drag(name) {
    const { crosshair, windowing, pan } = niivue.DRAG_MODE;
    const chosen = { crosshair, window: windowing, pan }[name];
    this.nv.setMouseEventConfig({
      leftButton: { primary: chosen, withShift: pan, withCtrl: windowing }, rightButton: windowing, centerButton: pan,
    });
    this.nv.setTouchEventConfig({ singleTouch: chosen, doubleTouch: pan });
  }

  /** Darkest and brightest value that differ on the screen. */
  window(low, high) {
    this.image.cal_min = low;
    this.image.cal_max = Math.max(high, low + (this.range[1] - this.range[0]) / 1000);
    this.nv.updateGLVolume();
    this.told();
  }

  /** Cut away so many hundredths of the rendering, from the side that is looked at. */
  cut(share) {
    const depth = share ? 0.5 - share / 100 : 2;  // NiiVue: 0.5 the near end, -0.5 the far one, beyond nothing
    this.nv.setClipPlane([depth, (this.nv.scene.renderAzimuth + 180) % 360, this.nv.scene.renderElevation]);
    at("cut").value = share;
    at("told-cut").textContent = `${share} %`;
  }

  /** Move the crosshair by voxels to the right, the front and the head of the body. */
  move(x, y, z) {
    this.nv.moveCrosshairInVox(x, y, z);
  }

  place() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos), (value, axis) => held(value, 0, this.sides[axis] - 1));
  }

  /** Put into numbers and words what is shown. */
  told() {
    if (!this.image) return;
    const place = this.place();
    PLANES.forEach((plane, axis) => {
      at(`at-${plane}`).value = place[axis] + 1;
      at(`told-${plane}`).textContent = `${place[axis] + 1} / ${this.sides[axis]}`;
    });
    const { cal_min: low, cal_max: high } = this.image;
    at("level").value = (low + high) / 2;
    at("width").value = high - low;
    at("told-level").textContent = round((low + high) / 2);
    at("told-width").textContent = round(high - low);
    const value = round(this.image.getValue(...this.nv.frac2vox(this.nv.scene.crosshairPos)));
    const where = this.names.map((name, axis) => `${name} ${place[axis] + 1}/${this.sides[axis]}`).join(" · ");
    const words = `${where} · ${korean ? "값" : "value"} ${value}${this.units ? ` ${this.units}` : ""}`;
    at("where").textContent = words;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      const shown = korean ? `밝기 ${round((low + high) / 2)}, 폭 ${round(high - low)}`
        : `level ${round((low + high) / 2)}, width ${round(high - low)}`;
      at("said").textContent = `${words} · ${shown}`;
    }, SETTLED);
    requestAnimationFrame(() => this.#names());
  }

  /** Names of the panes stand in their corners. */
  #names() {
    const dense = this.canvas.width / this.canvas.clientWidth || 1;
    const found = new Map(this.nv.screenSlices.map((one) => [PANES[one.axCorSag], one.leftTopWidthHeight]));
    for (const name of document.querySelectorAll("[data-pane]")) {
      const box = found.get(name.dataset.pane);
      name.hidden = !box;
      if (box) name.style.transform = `translate(${box[0] / dense}px, ${box[1] / dense}px)`;
    }
  }

  /** A window that leaves out the darkest and the brightest of the voxels that are not black. */
  #automatic() {
    const { img, hdr } = this.image;
    const by = Math.max(1, Math.floor(img.length / MOST));
    const found = [];
    for (let place = 0; place < img.length; place += by) if (img[place]) found.push(img[place]);
    if (found.length < 2) return this.range;
    found.sort((one, other) => one - other);
    const scaled = (share) => found[Math.floor((found.length - 1) * share)] * (hdr.scl_slope || 1) + hdr.scl_inter;
    const [low, high] = [scaled(SHARE), scaled(1 - SHARE)];
    return high > low ? [Math.min(low, this.range[0] + (high - this.range[0]) / 10), high] : this.range;
  }

  #controls() {
    const [black, white] = this.range;
    const whole = white - black;
    const ranges = { level: [black, white], width: [whole / 100, 2 * whole] };
    for (const [name, [low, high]] of Object.entries(ranges)) {
      Object.assign(at(name), { min: low, max: high, step: whole > 500 ? 1 : "any" });
      at(name).addEventListener("input", () => this.#level(Number(at("level").value), Number(at("width").value)));
    }
    PLANES.forEach((plane, axis) => {
      at(`at-${plane}`).max = this.sides[axis];
      at(`at-${plane}`).addEventListener("input", () => {
        const by = [0, 0, 0];
        by[axis] = Number(at(`at-${plane}`).value) - 1 - this.place()[axis];
        this.move(...by);
      });
    });
    for (const button of document.querySelectorAll("[data-level]")) {
      button.addEventListener("click", () => {
        if (button.dataset.level === "whole") this.window(...this.range);
        else if (button.dataset.level === "robust") this.window(...this.auto);
        else this.#level(Number(button.dataset.level), Number(button.dataset.width));
      });
    }
    for (const one of document.querySelectorAll("input[name=view]")) one.addEventListener("change", () => this.view(one.value));
    for (const one of document.querySelectorAll("input[name=drag]")) one.addEventListener("change", () => this.drag(one.value));
    at("cut").addEventListener("input", () => this.cut(Number(at("cut").value)));
    at("reset").addEventListener("click", () => this.reset());
    at("controls").hidden = false;
    for (const name of ["mousemove", "mouseup", "touchmove", "touchend", "dblclick"]) {
      this.canvas.addEventListener(name, (event) => { if (name !== "mousemove" || event.buttons) this.told(); });
    }
    new ResizeObserver(() => requestAnimationFrame(() => this.#names())).observe(this.canvas);
  }

  #level(level, width) {
    this.window(level - width / 2, level + width / 2);
  }

  /** NiiVue's own keys work only under the mouse, and one of them opens an alert: none of them is let through. */
  #keys() {
    const { nv } = this;
    const turn = (right, up) => {
      nv.setRenderAzimuthElevation(nv.scene.renderAzimuth + right * TURN, held(nv.scene.renderElevation + up * TURN, -90, 90));
      this.cut(Number(at("cut").value));
    };
    const zoom = (factor) => {
      const [x, y, z, now] = nv.scene.pan2Dxyzmm;
      nv.setPan2Dxyzmm([x, y, z, held(now * factor, 0.5, 10)]);
      nv.setScale(held(nv.scene.volScaleMultiplier * factor, 0.5, 10));
    };
    // the patient's right is on the left of the screen
    const arrows = { ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], PageUp: [0, 1, 0], PageDown: [0, -1, 0] };
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const others = { "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2), r: () => this.reset() };
    const views = ["multi", "axial", "coronal", "sagittal", "render"];
    const key = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (["p", "n", "Tab"].includes(name)) return;  // the page's own
      event.stopImmediatePropagation();
      if (event.type !== "keydown") return;
      if (event.shiftKey && turns[name]) turn(...turns[name]);
      else if (arrows[name]) this.move(...arrows[name]);
      else if (others[name]) others[name]();
      else if (views[Number(name) - 1]) this.view(views[Number(name) - 1]);
      else return;
      event.preventDefault();
    };
    for (const kind of ["keydown", "keyup"]) this.canvas.addEventListener(kind, key, { capture: true });
  }
}

async function stand(canvas) {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error(korean ? "이 브라우저에는 WebGL 2가 없습니다. 슬라이스로 보십시오." : "This browser has no WebGL 2. Look at the slices.");
  }
  const answer = await fetched(canvas.dataset.at);
  await new Volume(canvas).load(await answer.arrayBuffer());
  at("waiting").hidden = true;
  canvas.dataset.ready = "yes";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.target.matches("input")) return;
  const link = { p: "before", n: "after" }[event.key];
  if (link) at(link)?.click();
});

stand(at("volume")).catch((error) => {
  at("waiting").hidden = true;
  trouble(error);
});
