// The catalogue's scripts: arrows move in the grid of thumbnails; one image, a film or the slices of a volume stand in
// the viewer. Keys of films beside those of the viewer: , and . slower and faster, l again and again, page up and page
// down the stage before and after.
import { fetched, trouble } from "./fetched.js";
import { Viewer } from "./viewer.js";

const at = (id) => document.getElementById(id);
const FULL = 65535;
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

function grid(list) {
  const links = [...list.querySelectorAll("a")];
  list.addEventListener("keydown", (event) => {
    const here = links.indexOf(document.activeElement);
    const across = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key];
    if (here < 0 || !by || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const next = links[here + by];
    if (next) { next.focus(); event.preventDefault(); }
  });
}

function controls(viewer, canvas, scale) {
  const acts = {
    before: () => viewer.step(-1), after: () => viewer.step(1), closer: () => viewer.zoomBy(1.25),
    farther: () => viewer.zoomBy(0.8), invert: () => viewer.invert(), reset: () => viewer.reset(),
  };
  for (const button of document.querySelectorAll("#controls [data-act]")) {
    button.addEventListener("click", () => { viewer.stop(); acts[button.dataset.act](); });
  }
  for (const button of document.querySelectorAll("#controls [data-level]")) {
    const [level, width] = [Number(button.dataset.level), Number(button.dataset.width)];
    button.addEventListener("click", () => viewer.setWindow((level - scale.black) / scale.step, width / scale.step));
  }
  at("controls").hidden = false;
  if (location.hash === "#picture") canvas.focus({ preventScroll: true });
}

/** Play, speed, again and again, the place and the stages of a film; of a volume the same without stages. */
function player(viewer, canvas) {
  const rates = [...at("rate").options].map((one) => one.value);
  const stages = [...document.querySelectorAll("#stages [data-first]")];
  const rate = () => { viewer.rate = Number(at("rate").value); };
  const faster = (by) => {
    const to = rates[rates.indexOf(at("rate").value) + by];
    if (to) { at("rate").value = to; rate(); }
  };
  const go = (frame) => { viewer.stop(); viewer.go(frame); };
  const stage = (by) => {
    const here = stages.findLastIndex((one) => Number(one.dataset.first) <= viewer.frame);
    if (stages[here + by]) go(Number(stages[here + by].dataset.first));
  };
  const loop = (on) => { viewer.loop = at("loop").checked = on; };
  at("seek").addEventListener("input", () => go(Number(at("seek").value)));
  at("play").addEventListener("click", () => (viewer.playing ? viewer.stop() : viewer.play(viewer.rate)));
  at("rate").addEventListener("change", rate);
  at("loop").addEventListener("change", () => loop(at("loop").checked));
  for (const one of stages) one.addEventListener("click", () => go(Number(one.dataset.first)));
  const keys = {
    ",": () => faster(-1), ".": () => faster(1), l: () => loop(!viewer.loop), PageUp: () => stage(-1), PageDown: () => stage(1),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    act();
    event.preventDefault();
  });
  if (calm) at("rate").value = rates[0];  // whoever wants little motion begins slowly and once
  loop(!calm);
  rate();
}

function told(it, ids, labels, scale) {
  at("level").textContent = Math.round(scale.black + it.level * scale.step);
  at("width").textContent = Math.round(it.width * scale.step);
  at("zoom").textContent = `${it.zoom.toFixed(1)}×`;
  if (it.count < 2) return;
  at("frame").textContent = `${it.frame + 1} / ${it.count}`;
  at("seek").value = it.frame;
  at("seek").setAttribute("aria-valuetext", `${it.frame + 1} / ${it.count}, ${labels[it.frame]}`);
  at("now-id").textContent = ids[it.frame];
  at("now-label").textContent = labels[it.frame];
  const play = at("play");
  play.setAttribute("aria-pressed", String(it.playing));
  play.textContent = it.playing ? play.dataset.stop : play.dataset.play;
  for (const one of document.querySelectorAll("#stages [data-first]")) {
    const first = Number(one.dataset.first);
    const here = first <= it.frame && it.frame < first + Number(one.dataset.count);
    if (here) one.setAttribute("aria-current", "step"); else one.removeAttribute("aria-current");
  }
}

/** All frames, in as few answers as the server gives them; each is put where it belongs as it comes. */
async function rest(viewer, address, count) {
  for (let first = 0; first < count;) {
    const answer = await fetched(address(first));
    const levels = new Uint16Array(await answer.arrayBuffer());
    const frames = Number(answer.headers.get("x-frames"));
    if (!frames) throw new Error(`${first} / ${count}`);
    const size = levels.length / frames;
    for (let place = 0; place < frames; place += 1) {
      viewer.put(first + place, levels.subarray(place * size, (place + 1) * size));
    }
    first += frames;
    at("loaded").textContent = first < count ? `${Math.round((100 * first) / count)} %` : "";
  }
}

async function stand(canvas) {
  const [ids, labels] = [JSON.parse(canvas.dataset.frames), JSON.parse(canvas.dataset.labels)];
  const { at: folder, version, id } = canvas.dataset;
  const [black, white] = [Number(canvas.dataset.black), Number(canvas.dataset.white)];
  const scale = { black, step: (white - black) / FULL };
  const first = Math.max(0, ids.indexOf(id));
  const viewer = new Viewer(canvas, { live: at("said"), oninput: (it) => told(it, ids, labels, scale) });
  const answer = await fetched(`${folder}pixels/${encodeURIComponent(id)}?v=${version}`);
  const frames = new Array(ids.length).fill(null);
  frames[first] = new Uint16Array(await answer.arrayBuffer());
  viewer.show(frames, Number(answer.headers.get("x-width")), Number(answer.headers.get("x-height")));
  if (first) viewer.go(first);
  controls(viewer, canvas, scale);
  if (ids.length > 1) player(viewer, canvas);
  told(viewer.told(), ids, labels, scale);
  canvas.dataset.ready = "first";
  if (ids.length > 1) {
    await rest(viewer, (from) => `${folder}frames/${encodeURIComponent(id)}?first=${from}&v=${version}`, ids.length);
  }
  canvas.dataset.ready = "all";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.target.matches("input, textarea, select")) return;
  const link = { p: "before", n: "after" }[event.key];
  if (link) at(link)?.click();
});

if (at("grid")) grid(at("grid"));
const picture = at("picture");
if (picture instanceof HTMLCanvasElement) stand(picture).catch(trouble);
