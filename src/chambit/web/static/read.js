// The reader's screen. It asks for the picture that is due, shows it, and sends one answer; the server alone knows the
// order. Nothing here tells real from synthetic: pictures are raw grey levels, all of one length.
import { Viewer } from "./viewer.js";

const root = document.getElementById("read");
const at = (id) => document.getElementById(id);
const api = `/api/readings/${root.dataset.key}`;
const form = at("answer");
const canvas = at("picture");
let due = null, shownAt = 0, moves = 0, giveaway = null, sending = false;
const viewer = new Viewer(canvas, { live: at("said"), onchange: () => { moves += 1; } });

function only(name) {
  for (const id of ["pause", "done", "work"]) at(id).hidden = id !== name;
}

function counted() {
  at("bar").value = due.done;
  at("count").textContent = `${due.done} / ${due.of}`;
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

async function asked(path, options) {
  const answer = await fetch(path, options);
  if (answer.status === 401) { location.assign(`/login?to=${encodeURIComponent(location.pathname)}`); throw new Error("signed out"); }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error((document.documentElement.lang === "ko" && said.ko) || said.error || answer.statusText);
  }
  return answer;
}

async function next(rested) {
  due = await (await asked(`${api}/next`)).json();
  if (!due.trial) { counted(); only("done"); at("done-title").focus(); return; }
  if (due.pause && !rested) { counted(); only("pause"); at("pause-title").focus(); return; }
  const raw = await (await asked(`${api}/pixels/${due.trial}`)).arrayBuffer();
  counted();  // only with the picture: a count that runs ahead of it invites an answer to the picture before
  form.reset();
  giveaway = null;
  at("practice").hidden = !due.practice;
  if (at("label")) at("label").textContent = due.label ?? "";
  only("work");
  viewer.show(new Uint16Array(raw), due.width, due.height);
  moves = 0;
  shownAt = performance.now();
  canvas.focus();
}

function answer() {
  const given = new FormData(form);
  const second = root.dataset.second
    ? { label: given.get("right"), quality: Number(given.get("quality")), reject: given.getAll("reject") }
    : null;
  return {
    trial: due.trial, score: Number(given.get("score")), plausibility: second, giveaway,
    seconds: (performance.now() - shownAt) / 1000, moves, hour: new Date().getHours(),
  };
}

async function send() {
  if (sending || !due?.trial || !form.reportValidity()) return;
  sending = true;
  at("send").disabled = true;
  try {
    const headers = { "content-type": "application/json", "x-csrf-token": root.dataset.csrf };
    await asked(`${api}/votes`, { method: "POST", headers, body: JSON.stringify(answer()) });
    trouble("");
    await next(false);
  } catch (error) {
    trouble(error.message);  // the answer stays in the form and can be sent again
  } finally {
    sending = false;
    at("send").disabled = false;
  }
}

function choose(name, value) {
  const box = form.querySelector(`input[name=${name}][value="${value}"]`);
  if (box) { box.checked = true; box.dispatchEvent(new Event("change", { bubbles: true })); }
  return Boolean(box);
}

let pressed = null;
canvas.addEventListener("pointerdown", (event) => { pressed = [event.clientX, event.clientY]; });
canvas.addEventListener("click", (event) => {
  const far = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 3;
  if (far) return;
  const place = viewer.place(event.clientX, event.clientY);
  if (place) { giveaway = place; viewer.mark(place); }
});

document.addEventListener("keydown", (event) => {
  if (sending || at("work").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input[type=text], textarea, select")) return;
  const key = event.key;
  if (/^[1-6]$/.test(key)) {
    const scored = form.querySelector("input[name=score]:checked");
    if (event.shiftKey || !root.dataset.second || !scored || key === "6") choose("score", key); else choose("quality", key);
  } else if ({ y: 1, n: 1, u: 1 }[key]) {
    choose("right", { y: "yes", n: "no", u: "unsure" }[key]);
  } else if (key === "x") {
    giveaway = [0.5, 0.5];
    viewer.mark(giveaway);
  } else if (key === "Enter") {
    send();
  } else {
    return;
  }
  event.preventDefault();
});

form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
at("go-on").addEventListener("click", () => next(true).catch((error) => trouble(error.message)));
next(false).catch((error) => trouble(error.message));
