// The wall of images: OpenSeadragon over tiles of this hub. Two clicks, or Enter, open the image in the middle.
const root = document.getElementById("wall");
const said = document.getElementById("wall-said");
const given = Object.fromEntries(["width", "height", "levels", "cell", "columns", "count"].map((name) => [name, Number(root.dataset[name])]));
const { study, version } = root.dataset;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

const viewer = window.OpenSeadragon({
  element: root,
  showNavigationControl: false,
  showNavigator: given.count > 200,
  visibilityRatio: 0.6,
  maxZoomPixelRatio: 6,
  imageLoaderLimit: 4,
  animationTime: still ? 0 : 0.8,
  gestureSettingsMouse: { clickToZoom: true, dblClickToZoom: false },
  tileSources: {
    width: given.width, height: given.height, tileSize: 256, minLevel: 0, maxLevel: given.levels,
    getTileUrl: (level, x, y) => `/exhibition/${study}/tiles/${level}/${x}_${y}.jpg?v=${version}`,
  },
});

function placeAt(point) {
  const at = viewer.viewport.viewportToImageCoordinates(point);
  const column = Math.floor(at.x / given.cell), row = Math.floor(at.y / given.cell);
  const number = row * given.columns + column;
  return column >= 0 && column < given.columns && row >= 0 && number < given.count ? number : null;
}

function open(point) {
  const number = placeAt(point);
  if (number !== null && root.dataset.open) location.assign(`/exhibition/${study}/place/${number}`);
}

viewer.addHandler("canvas-double-click", (event) => open(viewer.viewport.pointFromPixel(event.position)));
viewer.addHandler("canvas-key", (event) => {
  if (event.originalEvent.key === "Enter") open(viewer.viewport.getCenter());
});
viewer.addHandler("update-viewport", () => {
  const number = placeAt(viewer.viewport.getCenter());
  const text = number === null ? "" : `${number + 1} / ${given.count}`;
  if (said.textContent !== text) said.textContent = text;
});
for (const button of document.querySelectorAll("[data-wall]")) {
  button.addEventListener("click", () => {
    const act = button.dataset.wall;
    if (act === "home") viewer.viewport.goHome(); else viewer.viewport.zoomBy(act === "in" ? 1.6 : 0.625);
    viewer.viewport.applyConstraints();
  });
}
