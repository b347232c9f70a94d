// The map: shaded areas of real images under points of synthetic ones. The nearest point shows its image; arrows walk
// from point to point, Enter opens the image.
const canvas = document.getElementById("map");
const shown = document.getElementById("map-shown");
const { study, version } = canvas.dataset;
const COLOURS = ["#ffb000", "#5cc8ff", "#ff6f91", "#9be564", "#c79bff", "#ffffff", "#ff9d5c", "#4fd1c5"];
const SHADES = ["", "#1d2b38", "#2c4358", "#41627f"];
const pen = canvas.getContext("2d");
const drawn = await (await fetch(`/api/exhibition/${study}/map`)).json();
const place = ([x, y]) => [x * canvas.width, (1 - y) * canvas.height];
let chosen = -1;

function draw() {
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const [wide, high] = [canvas.width / drawn.cells, canvas.height / drawn.cells];
  [...drawn.areas].forEach((depth, at) => {
    if (depth === "0") return;
    pen.fillStyle = SHADES[depth];
    pen.fillRect((at % drawn.cells) * wide, canvas.height - (Math.floor(at / drawn.cells) + 1) * high, wide + 0.5, high + 0.5);
  });
  const size = drawn.points.length > 800 ? 2.5 : 4;
  drawn.points.forEach((point, at) => {
    const [x, y] = place(point);
    pen.beginPath();
    pen.arc(x, y, at === chosen ? size + 4 : size, 0, 2 * Math.PI);
    pen.fillStyle = COLOURS[point[2] % COLOURS.length];
    pen.fill();
    if (at === chosen) { pen.lineWidth = 2; pen.strokeStyle = "#fff"; pen.stroke(); }
  });
}

function choose(at) {
  if (at === chosen || at < 0) return;
  chosen = at;
  const id = encodeURIComponent(drawn.ids[at]);
  shown.hidden = false;
  if (canvas.dataset.open) shown.href = `/catalogue/${study}/images/${id}`;
  shown.firstElementChild.src = `/exhibition/${study}/thumb/${id}?v=${version}`;
  shown.lastElementChild.textContent = `${drawn.ids[at]} · ${drawn.labels[drawn.points[at][2]]}`;
  draw();
}

function open() {  // visitors have no page of a single image
  if (chosen >= 0 && shown.href) location.assign(shown.href);
}

function nearest(event) {
  const box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) * canvas.width / box.width, y = (event.clientY - box.top) * canvas.height / box.height;
  let best = -1, least = 900;
  drawn.points.forEach((point, at) => {
    const [a, b] = place(point);
    const far = (a - x) ** 2 + (b - y) ** 2;
    if (far < least) { least = far; best = at; }
  });
  return best;
}

function walk(dx, dy) {  // to the nearest point in a direction
  const [x, y] = place(drawn.points[Math.max(chosen, 0)]);
  let best = -1, least = Infinity;
  drawn.points.forEach((point, at) => {
    const [a, b] = place(point), along = (a - x) * dx + (b - y) * dy, off = Math.abs((a - x) * dy - (b - y) * dx);
    if (at !== chosen && along > 1 && off <= along && along + 2 * off < least) { least = along + 2 * off; best = at; }
  });
  choose(best);
}

canvas.addEventListener("pointermove", (event) => choose(nearest(event)));
canvas.addEventListener("click", (event) => { choose(nearest(event)); if (nearest(event) >= 0) open(); });
canvas.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (by) { if (chosen < 0) choose(0); else walk(...by); event.preventDefault(); }
  if (event.key === "Enter") open();
});
document.querySelectorAll(".legend li").forEach((item) => {
  item.firstElementChild.style.background = COLOURS[Number(item.dataset.place) % COLOURS.length];
});
draw();
