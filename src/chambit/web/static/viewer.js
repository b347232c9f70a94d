// A grey picture of 16 bits on a canvas: window and level through a table, zoom, pan, keyboard and pointer, one mark.
// Drag changes the window (across: width, up and down: level), wheel and + - zoom, shift-drag pans, r begins anew.

const FULL = 65535;
const STEP = 0.04;  // of the full range, for each press of an arrow

export class Viewer {
  // options: live, an element that is told what changed; onchange({level, width, zoom}) at every change by a person
  constructor(canvas, options = {}) {
    this.canvas = canvas;
    this.live = options.live ?? null;
    this.onchange = options.onchange ?? (() => {});
    this.buffer = document.createElement("canvas");
    this.table = new Uint8Array(FULL + 1);
    this.pixels = null;
    this.marked = null;
    this.drag = null;
    this.words = document.documentElement.lang === "ko"
      ? (w) => `밝기 ${w.level} %, 폭 ${w.width} %, 확대 ${w.zoom}배` : (w) => `level ${w.level} %, width ${w.width} %, zoom ${w.zoom}`;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => { this.drag = null; });
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.reset(true));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // pixels: Uint16Array, row by row
  show(pixels, width, height) {
    if (pixels.length !== width * height) throw new Error(`${pixels.length} pixels are not ${width} x ${height}`);
    Object.assign(this, { pixels, width, height, marked: null });
    this.buffer.width = width;
    this.buffer.height = height;
    this.image = new ImageData(width, height);
    this.reset(false);
  }

  reset(told) {
    Object.assign(this, { level: 0.5, span: 1, zoom: 1, x: 0, y: 0, inverted: false });
    this.render();
    if (told) this.changed();
  }

  // Where a point of the screen lies in the picture, [x, y] in [0, 1] from the top left; null outside of it.
  place(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const fit = this.fit(box.width, box.height);
    const x = (clientX - box.left - fit.left) / (this.width * fit.scale);
    const y = (clientY - box.top - fit.top) / (this.height * fit.scale);
    return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? [x, y] : null;
  }

  mark(place) {
    this.marked = place;
    this.draw();
  }

  fit(wide, high) {
    const scale = Math.min(wide / this.width, high / this.height) * this.zoom;
    return { scale, left: (wide - this.width * scale) / 2 + this.x, top: (high - this.height * scale) / 2 + this.y };
  }

  render() {
    if (!this.pixels) return;
    const low = this.level - this.span / 2;
    for (let value = 0; value <= FULL; value += 1) {
      const grey = Math.max(0, Math.min(255, Math.round(((value / FULL - low) / this.span) * 255)));
      this.table[value] = this.inverted ? 255 - grey : grey;
    }
    const out = this.image.data;
    for (let k = 0; k < this.pixels.length; k += 1) {
      const grey = this.table[this.pixels[k]];
      out[4 * k] = out[4 * k + 1] = out[4 * k + 2] = grey;
      out[4 * k + 3] = 255;
    }
    this.buffer.getContext("2d").putImageData(this.image, 0, 0);
    this.draw();
  }

  draw() {
    if (!this.pixels) return;
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!wide || !high) return;
    this.canvas.width = Math.round(wide * ratio);
    this.canvas.height = Math.round(high * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const fit = this.fit(wide, high);
    context.imageSmoothingEnabled = fit.scale * ratio < 1;
    context.drawImage(this.buffer, fit.left, fit.top, this.width * fit.scale, this.height * fit.scale);
    if (!this.marked) return;
    const [x, y] = [fit.left + this.marked[0] * this.width * fit.scale, fit.top + this.marked[1] * this.height * fit.scale];
    for (const [colour, line] of [["#000", 4], ["#ffd24d", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      context.arc(x, y, 11, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  changed() {
    const told = { level: Math.round(this.level * 100), width: Math.round(this.span * 100), zoom: Math.round(this.zoom * 10) / 10 };
    if (this.live) this.live.textContent = this.words(told);
    this.onchange(told);
  }

  window(level, span) {
    this.level = Math.max(0, Math.min(1, level));
    this.span = Math.max(0.01, Math.min(2, span));
    this.render();
    this.changed();
  }

  zoomed(times, at = null) {
    const before = this.zoom;
    this.zoom = Math.max(1, Math.min(16, this.zoom * times));
    if (at) {
      const box = this.canvas.getBoundingClientRect();
      const [x, y] = [at[0] - box.left - box.width / 2, at[1] - box.top - box.height / 2];
      this.x = x - ((x - this.x) * this.zoom) / before;
      this.y = y - ((y - this.y) * this.zoom) / before;
    }
    if (this.zoom === 1) this.x = this.y = 0;
    this.draw();
    this.changed();
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { from: [event.clientX, event.clientY], pan: event.shiftKey || event.button === 2, was: [this.level, this.span, this.x, this.y] };
  }

  move(event) {
    if (!this.drag) return;
    const [dx, dy] = [event.clientX - this.drag.from[0], event.clientY - this.drag.from[1]];
    if (Math.hypot(dx, dy) <= 3) return;
    const [level, span, x, y] = this.drag.was;
    if (this.drag.pan) {
      [this.x, this.y] = [x + dx, y + dy];
      this.draw();
    } else {
      this.window(level + dy / 400, span + dx / 300);
    }
  }

  wheel(event) {
    event.preventDefault();
    this.zoomed(event.deltaY < 0 ? 1.2 : 1 / 1.2, [event.clientX, event.clientY]);
  }

  key(event) {
    const acts = {
      ArrowUp: () => this.window(this.level - STEP, this.span),
      ArrowDown: () => this.window(this.level + STEP, this.span),
      ArrowLeft: () => this.window(this.level, this.span - STEP),
      ArrowRight: () => this.window(this.level, this.span + STEP),
      "+": () => this.zoomed(1.25),
      "=": () => this.zoomed(1.25),
      "-": () => this.zoomed(0.8),
      r: () => this.reset(true),
      i: () => { this.inverted = !this.inverted; this.render(); this.changed(); },
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
}
