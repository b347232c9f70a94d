// Shows pictures of 16 bits on a canvas, grey or in colour (three values a pixel), one or many of one size (the frames of
// a film, the slices of a volume).
// Everything can be done by mouse, by touch and by keyboard alone:
//
//   drag, arrows                 window: up and down the level, left and right the width
//   wheel, + and -, two fingers  zoom at the pointer
//   right drag, shift and drag   move the picture; shift and arrows do the same
//   double click, r              as at first           i  bright for dark
//   ctrl and wheel, [ and ]      slice or frame        space  play and stop, Home and End  first and last
//
// Pixels are drawn one by one, never smoothed, once each is as large as a pixel of the screen.

const FULL = 65536;
const NARROWEST = 16;
const WIDEST = 2 * FULL;
const LARGEST = 64;
const SETTLED = 300;  // milliseconds of rest after which a change is told
const SLIP = 3;  // pixels a hand may tremble within a click
const STEP = 1.1;
const held = (value, low, high) => Math.min(high, Math.max(low, value));

const WORDS = {
  ko: (it) => `밝기 ${it.level}, 폭 ${it.width}, 확대 ${it.zoom.toFixed(1)}배`
    + (it.inverted ? ", 반전" : "") + (it.count > 1 ? `, ${it.count}장 가운데 ${it.frame + 1}` : ""),
  en: (it) => `level ${it.level}, width ${it.width}, zoom ${it.zoom.toFixed(1)}`
    + (it.inverted ? ", inverted" : "") + (it.count > 1 ? `, ${it.frame + 1} of ${it.count}` : ""),
};

export class Viewer {
  /**
   * @param {HTMLCanvasElement} canvas - sized by CSS; give it tabindex="0" and a label.
   * @param {object} options
   *   live: an aria-live element that is told the window and the zoom when they come to rest;
   *   onchange: called with {level, width, zoom, inverted, frame, count} once for each act: a drag, a turn of the
   *     wheel, a key;
   *   oninput: called with the same, continuously, for numbers on the page;
   *   window: [level, width] to begin with, in grey levels of 0 to 65535; the whole range where none is given.
   */
  constructor(canvas, options = {}) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.options = options;
    this.words = WORDS[document.documentElement.lang] ?? WORDS.ko;
    this.frames = [];
    this.frame = 0;
    this.table = new Uint32Array(FULL);
    this.picture = document.createElement("canvas");
    this.ring = null;
    this.pointers = new Map();
    this.over = null;
    this.timers = {};
    this.loop = true;
    this.#home();
    this.#listen();
    this.sized = new ResizeObserver(() => this.#fit());
    this.sized.observe(canvas);
  }

  /** Show one picture (Uint16Array, row by row from the top left, one or three values a pixel) or a list of them; window is [level, width]. */
  show(pixels, width, height, window = this.options.window) {
    this.stop();
    this.frames = Array.isArray(pixels) ? pixels.slice() : [pixels];
    this.wide = width;
    this.high = height;
    this.first = window ?? [FULL / 2, FULL];
    this.frame = 0;
    this.ring = null;
    this.picture.width = width;
    this.picture.height = height;
    this.data = this.picture.getContext("2d").createImageData(width, height);
    this.shades = new Uint32Array(this.data.data.buffer);
    this.#home();
    this.#develop();
    this.#fit();
  }

  /** Put pixels in the place of one frame, when they arrive later than the others. */
  put(frame, pixels) {
    this.frames[frame] = pixels;
    if (frame === this.frame) this.#develop();
  }

  /** Window, zoom and place as at first. */
  reset() {
    this.#home();
    this.#develop();
    this.#changed("reset");
  }

  /** Bright for dark. */
  invert() {
    this.inverted = !this.inverted;
    this.#develop();
    this.#changed("invert");
  }

  /** Set the window in grey levels of 0 to 65535. */
  setWindow(level, width) {
    this.level = held(level, 0, FULL - 1);
    this.width = held(width, NARROWEST, WIDEST);
    this.#develop();
    this.#changed("window");
  }

  /** Zoom by a factor; at a place of the screen (clientX, clientY), or the middle of the canvas. */
  zoomBy(factor, at = null) {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = at ? [at[0] - box.left - box.width / 2, at[1] - box.top - box.height / 2] : [0, 0];
    const zoom = held(this.zoom * factor, 1, LARGEST);
    const grown = zoom / this.zoom;
    this.left = x - (x - this.left) * grown;
    this.top = y - (y - this.top) * grown;
    this.zoom = zoom;
    this.#keep();
    this.#changed("zoom");
  }

  /** Move the picture by pixels of the page. */
  pan(right, down) {
    this.left += right;
    this.top += down;
    this.#keep();
    this.#changed("pan");
  }

  /** Go to a frame, counted from 0. */
  go(frame) {
    const to = held(frame, 0, this.frames.length - 1);
    if (to === this.frame) return;
    this.frame = to;
    this.#develop();
    this.#changed("frame");
  }

  /** The frame so many after this one, or before; it ends at the first and the last. */
  step(by) {
    this.go(this.frame + by);
  }

  /** Play the frames in their order, so many a second; again and again while `loop` is true. */
  play(rate) {
    this.stop();
    if (this.frames.length < 2) return;
    this.rate = rate;
    if (!this.loop && this.frame === this.frames.length - 1) this.frame = 0;
    let shown = performance.now();
    const tick = (now) => {
      this.playing = requestAnimationFrame(tick);
      const time = 1000 / this.rate;
      if (now - shown < time) return;
      shown = Math.max(shown + time, now - time);  // a late picture does not hurry the next ones
      const last = this.frame === this.frames.length - 1;
      if (last && !this.loop) { this.stop(); return; }
      const next = last ? 0 : this.frame + 1;
      if (!this.frames[next]) return;  // it has not arrived: wait for it
      this.frame = next;
      this.#develop();
      this.options.oninput?.(this.told());
    };
    this.playing = requestAnimationFrame(tick);
    this.#develop();
    this.options.oninput?.(this.told());
  }

  /** Stop playing. */
  stop() {
    if (!this.playing) return;
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.options.oninput?.(this.told());
  }

  /** Where a place of the screen lies in the picture: x and y of 0 to 1 from its top left, or null beside it. */
  place(clientX, clientY) {
    if (!this.frames.length) return null;
    const box = this.canvas.getBoundingClientRect();
    const scale = this.scale * this.zoom;
    const x = (clientX - box.left - box.width / 2 - this.left) / (this.wide * scale) + 0.5;
    const y = (clientY - box.top - box.height / 2 - this.top) / (this.high * scale) + 0.5;
    return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? [x, y] : null;
  }

  /** Draw a ring at a place as `place` gives it; null takes it away. */
  mark(place) {
    this.ring = place;
    this.#draw();
  }

  /** What is shown now. */
  told() {
    return {
      level: Math.round(this.level), width: Math.round(this.width), zoom: this.zoom, inverted: this.inverted,
      frame: this.frame, count: this.frames.length, playing: Boolean(this.playing),
    };
  }

  #home() {
    [this.level, this.width] = this.first ?? [FULL / 2, FULL];
    [this.zoom, this.left, this.top, this.inverted] = [1, 0, 0, false];
  }

  #develop() {
    const pixels = this.frames[this.frame];
    if (!pixels) return;
    this.#tabulate();
    const { table, shades } = this;
    if (pixels.length === 3 * shades.length) {  // red, green and blue of each pixel
      for (let at = 0, from = 0; at < shades.length; at += 1, from += 3) {
        const [red, green, blue] = [table[pixels[from]], table[pixels[from + 1]], table[pixels[from + 2]]];
        shades[at] = 0xff000000 | (blue & 0xff0000) | (green & 0xff00) | (red & 0xff);
      }
    } else {
      for (let at = 0; at < shades.length; at += 1) shades[at] = table[pixels[at]];
    }
    this.picture.getContext("2d").putImageData(this.data, 0, 0);
    this.#draw();
  }

  /** What each grey level looks like in this window; made again only when the window has changed. */
  #tabulate() {
    const window = `${this.level} ${this.width} ${this.inverted}`;
    if (window === this.tabulated) return;
    this.tabulated = window;
    const low = this.level - this.width / 2;
    for (let value = 0; value < FULL; value += 1) {
      const grey = Math.round(held((value - low) / this.width, 0, 1) * 255);
      const shown = this.inverted ? 255 - grey : grey;
      this.table[value] = 0xff000000 | (shown << 16) | (shown << 8) | shown;
    }
  }

  #fit() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    this.dense = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(box.width * this.dense);
    this.canvas.height = Math.round(box.height * this.dense);
    this.scale = this.wide ? Math.min(box.width / this.wide, box.height / this.high) : 1;
    this.#keep();
    this.#draw();
  }

  #draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      const { pen, canvas, dense } = this;
      if (!this.wide || !dense) return;
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      const scale = this.scale * this.zoom * dense;
      const [wide, high] = [this.wide * scale, this.high * scale];
      const left = Math.round(canvas.width / 2 + this.left * dense - wide / 2);
      const top = Math.round(canvas.height / 2 + this.top * dense - high / 2);
      pen.imageSmoothingEnabled = scale < 1;
      pen.imageSmoothingQuality = "high";
      pen.drawImage(this.picture, left, top, Math.round(wide), Math.round(high));
      if (this.ring) this.#circle(left + this.ring[0] * wide, top + this.ring[1] * high);
    });
  }

  #circle(x, y) {
    for (const [colour, thick] of [["#000", 5], ["#ffc43c", 2.5]]) {
      this.pen.beginPath();
      this.pen.arc(x, y, 13 * this.dense, 0, 2 * Math.PI);
      this.pen.strokeStyle = colour;
      this.pen.lineWidth = thick * this.dense;
      this.pen.stroke();
    }
  }

  /** Some of the picture stays in the middle, and a picture that fits stays where it is. */
  #keep() {
    const box = this.canvas.getBoundingClientRect();
    const most = (length, room) => Math.max(0, (length * (this.scale ?? 1) * this.zoom - room) / 2);
    const [right, down] = [most(this.wide ?? 1, box.width), most(this.high ?? 1, box.height)];
    this.left = held(this.left, -right, right);
    this.top = held(this.top, -down, down);
  }

  /** An act of the person: told to the page at once, and as one change when it has come to rest. */
  #changed(what) {
    this.#draw();
    this.options.oninput?.(this.told());
    clearTimeout(this.timers.said);
    this.timers.said = setTimeout(() => {
      if (this.options.live) this.options.live.textContent = this.words(this.told());
    }, SETTLED);
    if (this.pointers.size) { this.dragged = true; return; }
    if (what !== "zoom" || !this.wheeling) this.options.onchange?.(this.told());
  }

  #listen() {
    const on = (name, act) => this.canvas.addEventListener(name, act, { passive: false });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) on(name, (event) => this.#up(event));
    on("pointerleave", () => { this.over = null; });
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", () => this.reset());
    on("wheel", (event) => this.#wheel(event));
    on("keydown", (event) => this.#key(event));
  }

  #down(event) {
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.moving = event.button === 2 || event.shiftKey;
    this.still = [event.clientX, event.clientY];
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  #move(event) {
    const [x, y] = this.over = [event.clientX, event.clientY];
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.frames.length) return;
    if (this.still && Math.hypot(x - this.still[0], y - this.still[1]) < SLIP) return;
    this.still = null;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, [x, y]);
    const [right, down] = [x - before[0], y - before[1]];
    if (other) {
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      this.pan(right / 2, down / 2);
      this.zoomBy(apart([x, y]) / apart(before), [(x + other[0]) / 2, (y + other[1]) / 2]);
    } else if (this.moving) {
      this.pan(right, down);
    } else if (right || down) {
      this.setWindow(this.level + (down * this.width) / 400, this.width * Math.exp(right / 200));
    }
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId) || this.pointers.size || !this.dragged) return;
    this.dragged = false;
    this.options.onchange?.(this.told());
  }

  #wheel(event) {
    event.preventDefault();
    if (event.ctrlKey) { this.step(Math.sign(event.deltaY)); return; }
    this.wheeling = true;
    this.zoomBy(Math.exp(-held(event.deltaY * (event.deltaMode ? 30 : 1), -150, 150) / 500), [event.clientX, event.clientY]);
    clearTimeout(this.timers.wheel);
    this.timers.wheel = setTimeout(() => {
      this.wheeling = false;
      this.options.onchange?.(this.told());
    }, SETTLED);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.frames.length) return;
    const [key, by] = [event.key, this.canvas.clientWidth / 20];
    const acts = event.shiftKey
      ? { ArrowUp: [0, by], ArrowDown: [0, -by], ArrowLeft: [by, 0], ArrowRight: [-by, 0] }
      : { ArrowUp: [-0.05, 1], ArrowDown: [0.05, 1], ArrowLeft: [0, 1 / STEP], ArrowRight: [0, STEP] };
    const done = {
      "+": () => this.zoomBy(STEP * STEP, this.over), "=": () => this.zoomBy(STEP * STEP, this.over),
      "-": () => this.zoomBy(1 / STEP / STEP, this.over), _: () => this.zoomBy(1 / STEP / STEP, this.over),
      r: () => this.reset(), i: () => this.invert(), "[": () => this.step(-1), "]": () => this.step(1),
    };
    const many = {
      " ": () => (this.playing ? this.stop() : this.play(this.rate ?? 8)),
      Home: () => this.go(0), End: () => this.go(this.frames.length - 1),
    };
    if (key in acts) {
      if (event.shiftKey) this.pan(...acts[key]);
      else this.setWindow(this.level + acts[key][0] * this.width, this.width * acts[key][1]);
    } else if (key.toLowerCase() in done) {
      done[key.toLowerCase()]();
    } else if (key in many && this.frames.length > 1) {
      many[key]();
    } else {
      return;
    }
    event.preventDefault();
  }
}
