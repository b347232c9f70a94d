// The catalogue's scripts: arrows move in the grid of thumbnails; one image, a film or a volume stands in the viewer.
import { Viewer } from "./viewer.js";

const at = (id) => document.getElementById(id);
const AT_ONCE = 4;

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

async function fetched(address) {
  const answer = await fetch(address);
  if (answer.status === 429) {  // many frames at once: wait as long as the server says
    await new Promise((go) => setTimeout(go, 1000 * Number(answer.headers.get("retry-after") ?? 1)));
    return fetched(address);
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  return {
    pixels: new Uint16Array(await answer.arrayBuffer()),
    width: Number(answer.headers.get("x-width")),
    height: Number(answer.headers.get("x-height")),
  };
}

function controls(viewer, canvas) {
  const acts = {
    before: () => viewer.step(-1), after: () => viewer.step(1), closer: () => viewer.zoomBy(1.25),
    farther: () => viewer.zoomBy(0.8), invert: () => viewer.invert(), reset: () => viewer.reset(),
  };
  for (const button of document.querySelectorAll("#controls [data-act]")) {
    button.addEventListener("click", () => { viewer.stop(); acts[button.dataset.act](); });
  }
  at("seek")?.addEventListener("input", () => { viewer.stop(); viewer.go(Number(at("seek").value)); });
  const rate = () => { viewer.rate = Number(at("rate").value); return viewer.rate; };
  at("play")?.addEventListener("click", () => (viewer.playing ? viewer.stop() : viewer.play(rate())));
  at("rate")?.addEventListener("change", () => { if (viewer.playing) viewer.play(rate()); else rate(); });
  if (at("rate")) rate();
  at("controls").hidden = false;
  if (location.hash === "#picture") canvas.focus({ preventScroll: true });
}

function told(it, ids, labels) {
  at("level").textContent = it.level;
  at("width").textContent = it.width;
  at("zoom").textContent = `${it.zoom.toFixed(1)}×`;
  if (it.count < 2) return;
  at("frame").textContent = `${it.frame + 1} / ${it.count}`;
  at("seek").value = it.frame;
  at("now-id").textContent = ids[it.frame];
  at("now-label").textContent = labels[it.frame];
  const play = at("play");
  play.setAttribute("aria-pressed", String(it.playing));
  play.textContent = it.playing ? play.dataset.stop : play.dataset.play;
}

async function stand(canvas) {
  const [ids, labels] = [JSON.parse(canvas.dataset.frames), JSON.parse(canvas.dataset.labels)];
  const address = (id) => `${canvas.dataset.at}${encodeURIComponent(id)}?v=${canvas.dataset.version}`;
  const first = Math.max(0, ids.indexOf(canvas.dataset.id));
  const viewer = new Viewer(canvas, { live: at("said"), oninput: (it) => told(it, ids, labels) });
  const shown = await fetched(address(ids[first]));
  const frames = new Array(ids.length).fill(null);
  frames[first] = shown.pixels;
  viewer.show(frames, shown.width, shown.height);
  if (first) viewer.go(first);
  told(viewer.told(), ids, labels);
  controls(viewer, canvas);
  const left = ids.map((_, place) => place).filter((place) => place !== first);
  const work = async () => {
    for (let place = left.shift(); place !== undefined; place = left.shift()) {
      viewer.put(place, (await fetched(address(ids[place]))).pixels);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

function trouble(error) {
  const korean = document.documentElement.lang === "ko";
  at("trouble").textContent = korean
    ? `영상을 불러오지 못했습니다 (${error.message}). 새로 열어 보십시오.`
    : `The image could not be loaded (${error.message}). Try to open the page again.`;
  at("trouble").hidden = false;
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
