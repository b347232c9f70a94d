// The inspector's screen: one image after the other with its label, and a judgement of it. A judgement counts as kept only
// when the server says so; until then it stays in the form. Earlier images can be judged anew, each older judgement is kept.
import { Viewer } from "./viewer.js";

const root = document.getElementById("inspect");
const at = (id) => document.getElementById(id);
const api = `/api/inspections/${root.dataset.key}`;
const form = at("judge");
const canvas = at("picture");
const names = JSON.parse(root.dataset.names);
const STEP = 0.02;
let now = null, shownAt = 0, moves = 0, mark = null, busy = true;
const viewer = new Viewer(canvas, { live: at("said"), onchange: () => { moves += 1; }, oninput: told });

function told(it) {
  at("level").textContent = it.level;
  at("width").textContent = it.width;
  at("zoom").textContent = `${it.zoom.toFixed(1)}×`;
  if (it.count < 2) return;
  at("frame").textContent = `${it.frame + 1} / ${it.count}`;
  at("seek").value = it.frame;
  at("now-label").textContent = now.labels[it.frame];
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

async function asked(path, options) {
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    location.assign(`/login?to=${encodeURIComponent(location.pathname)}`);
    throw new Error("signed out");
  }
  if (answer.status === 429) {  // many frames at once: wait as long as the server says
    await new Promise((go) => setTimeout(go, 1000 * Number(answer.headers.get("retry-after") ?? 1)));
    return asked(path, options);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error((document.documentElement.lang === "ko" && said.ko) || said.error || answer.statusText);
  }
  return answer;
}

async function pixels(place, frame) {
  const answer = await asked(`${api}/pixels/${place}/${frame}`);
  return [new Uint16Array(await answer.arrayBuffer()), Number(answer.headers.get("x-width")), Number(answer.headers.get("x-height"))];
}

async function go(place) {
  busy = true;
  try {
    const next = await (await asked(`${api}/images${place === undefined ? "" : `?at=${place}`}`)).json();
    const first = next.image === null ? null : await pixels(next.at, 0);
    now = next;
    counted();
    at("done").hidden = first !== null;
    at("look").hidden = first === null;
    trouble("");
    if (first === null) { at("done-title").focus(); return; }
    filled();
    const [raw, width, height] = first;
    const frames = now.labels.length;
    viewer.show(frames > 1 ? [raw, ...Array(frames - 1)] : raw, width, height);
    at("film").hidden = frames < 2;
    at("seek").max = frames - 1;
    restored();
    told(viewer.told());
    moves = 0;
    shownAt = performance.now();
    canvas.focus({ preventScroll: true });
    if (frames > 1) rest(now);
  } catch (error) {
    trouble(error.message);
  } finally {
    busy = false;
  }
}

async function rest(mine) {
  for (let frame = 1; frame < mine.labels.length && now === mine; frame += 1) {
    const [raw] = await pixels(mine.at, frame);
    if (now === mine) viewer.put(frame, raw);
  }
}

function counted() {
  at("bar").value = now.done;
  at("count").textContent = `${now.done} / ${now.of}`;
  at("previous").disabled = now.at === 0;
  at("next").disabled = now.at >= now.done;
  at("back").hidden = !now.of;
}

function filled() {
  form.reset();
  mark = null;
  at("now-label").textContent = now.labels[0];
  at("facts").replaceChildren(...[["id", now.image], ...Object.entries(now.told)].map(([name, value]) => {
    const [row, key, said] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [key.textContent, said.textContent] = [names[name] ?? name, value];
    row.append(key, said);
    return row;
  }));
  for (const one of at("to-label").options) one.disabled = new Set(now.labels).size === 1 && one.value === now.labels[0];
  at("earlier").hidden = !now.standing;
  at("earlier").textContent = at("earlier").dataset.once;
  opened();
}

function restored() {
  if (!now.standing) return;
  const said = now.standing.judgement;
  choose("decision", said.decision);
  if (said.mend) choose("mend", said.mend);
  for (const reason of said.reasons) choose("reasons", reason);
  at("to-label").value = said.label;
  at("text").value = said.text;
  if (said.frame) viewer.go(said.frame);
  marked(said.place);
}

function opened() {
  const said = new FormData(form);
  const [fix, reject] = [said.get("decision") === "fix", said.get("decision") === "reject"];
  at("mends").hidden = !fix;
  at("reasons").hidden = !reject;
  at("relabel").hidden = !(fix && said.get("mend") === "relabel");
  for (const box of form.querySelectorAll("input[name=mend]")) box.required = fix;
  at("to-label").required = !at("relabel").hidden;
  const other = (fix && said.get("mend") === "other") || (reject && said.getAll("reasons").includes("other"));
  at("text").required = other;
  const boxes = [...form.querySelectorAll("input[name=reasons]")];
  boxes[0].setCustomValidity(reject && !boxes.some((box) => box.checked) ? at("reasons").querySelector("legend").textContent : "");
}

function marked(place) {
  mark = place;
  viewer.mark(place);
}

function judgement() {
  const said = new FormData(form);
  const decision = said.get("decision");
  const mend = decision === "fix" ? said.get("mend") : "";
  return {
    at: now.at, replaces: now.standing?.number ?? 0, decision, mend,
    label: mend === "relabel" ? said.get("label") : "", reasons: decision === "reject" ? said.getAll("reasons") : [],
    text: said.get("text"), place: mark, frame: mark ? viewer.told().frame : 0,
    seconds: (performance.now() - shownAt) / 1000, moves,
  };
}

async function send() {
  if (busy || at("look").hidden || !form.reportValidity()) return;
  busy = true;
  at("send").disabled = true;
  try {
    const headers = { "content-type": "application/json", "x-csrf-token": root.dataset.csrf };
    await asked(`${api}/judgements`, { method: "POST", headers, body: JSON.stringify(judgement()) });
    await go(now.at + 1 < now.of ? now.at + 1 : undefined);
  } catch (error) {
    trouble(error.message);  // the judgement stays in the form and can be sent again
  } finally {
    busy = false;
    at("send").disabled = false;
  }
}

function choose(name, value) {
  const box = form.querySelector(`input[name=${name}][value="${value}"]`);
  if (!box) return;
  box.checked = box.type === "checkbox" ? !box.checked : true;
  opened();
}

function numbered(number) {
  const decision = form.querySelector("input[name=decision]:checked")?.value;
  if (number <= 3) { choose("decision", ["accept", "fix", "reject"][number - 1]); return; }
  const boxes = decision === "fix" ? "mend" : decision === "reject" ? "reasons" : null;
  const box = boxes && form.querySelectorAll(`input[name=${boxes}]`)[number - 4];
  if (!box) return;
  choose(boxes, box.value);
  if (!at("relabel").hidden) at("to-label").focus();
  else if (at("text").required && !at("text").value) at("text").focus();
}

function moved(right, down) {
  const held = (value) => Math.min(1, Math.max(0, value));
  const [x, y] = mark ?? [0.5, 0.5];
  marked([held(x + right * STEP), held(y + down * STEP)]);
}

const back = () => { if (now && now.at > 0) go(now.at - 1); };
const on = () => { if (now && now.at < now.done) go(now.at + 1 < now.of ? now.at + 1 : undefined); };
const acts = {
  x: () => marked([0.5, 0.5]), h: () => moved(-1, 0), l: () => moved(1, 0), k: () => moved(0, -1), j: () => moved(0, 1),
  p: back, n: on, t: () => at("text").focus(), Enter: send,
};

document.addEventListener("keydown", (event) => {
  if (busy || event.altKey || event.metaKey) return;
  const writing = event.target.matches("textarea, select");
  if (event.key === "Escape" && writing) { canvas.focus({ preventScroll: true }); return; }
  if (event.key === "Enter" && (event.target.matches("select") || (event.ctrlKey && writing))) { event.preventDefault(); send(); return; }
  if (writing || event.ctrlKey || event.target.matches("summary, a, input[type=range]")) return;
  if (event.target.matches("button") && ["Enter", " "].includes(event.key)) return;
  if (at("look").hidden) { if (event.key === "p") back(); return; }
  if (/^[0-9]$/.test(event.key)) numbered(Number(event.key) || 10);
  else if (event.key in acts && !event.shiftKey) acts[event.key]();
  else return;
  event.preventDefault();
});

let pressed = null;
canvas.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; });
canvas.addEventListener("click", (event) => {
  if (pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 3) return;
  const place = viewer.place(event.clientX, event.clientY);
  if (place) marked(place);
});

const tools = {
  closer: () => viewer.zoomBy(1.25), farther: () => viewer.zoomBy(0.8), invert: () => viewer.invert(),
  reset: () => viewer.reset(), unmark: () => marked(null), before: () => viewer.step(-1), after: () => viewer.step(1),
};
for (const button of root.querySelectorAll("[data-act]")) button.addEventListener("click", tools[button.dataset.act]);
at("seek").addEventListener("input", () => viewer.go(Number(at("seek").value)));
form.addEventListener("change", opened);
form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
at("previous").addEventListener("click", back);
at("next").addEventListener("click", on);
at("back").addEventListener("click", back);
go();
