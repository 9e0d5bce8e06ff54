// Lays the heat of a label over the preview. Red cells add to the label's logit, blue ones take from it, zero is clear.

const $ = (id) => document.getElementById(id);
const ADDS = [196, 30, 58];
const TAKES = [24, 92, 190];
const STRONGEST = 0.8;
const HATCH = 10;

let shown = null;  // { map, scale }: the answer's heat map, and the value that has the full colour

export const figure = (value) => String(Number(value.toPrecision(3)));

export const largest = (map) => Math.max(...map.values.flat().map(Math.abs));

export function clearHeat() {
  shown = null;
  $("heat").hidden = true;
  $("legend").hidden = true;
}

// The scale is one for all labels of an image, or they could not be compared.
export function showHeat(map, scale) {
  const { naturalWidth: width, naturalHeight: height } = $("preview");
  if (width !== map.image.width || height !== map.image.height) {
    clearHeat();
    $("legend").hidden = false;
    explain("This browser shows the image another way round than the model sees it, so its heat is not drawn.", false);
    return;
  }
  shown = { map, scale };
  $("heat").hidden = false;
  $("legend").hidden = false;
  $("least").textContent = `≤ −${figure(scale)}`;
  $("most").textContent = `≥ ${figure(scale)}`;
  const sum = `the mean of all, plus ${figure(map.bias)}, is its logit ${figure(map.logit)}`;
  explain(`Red adds to ${map.label}, blue takes from it; ${sum}.`, true);
  draw();
}

function explain(text, coloured) {
  $("meaning").textContent = text;
  document.querySelector(".scale").hidden = !coloured;
  $("unseen").hidden = !coloured || !isCut(shown.map);
}

function isCut({ box: [left, top, right, bottom], image: { width, height } }) {
  return left > 0.5 || top > 0.5 || right < width - 0.5 || bottom < height - 0.5;
}

function draw() {
  const canvas = $("heat");
  const { map, scale } = shown;
  const { clientWidth, clientHeight } = $("preview");
  canvas.width = Math.round(clientWidth * devicePixelRatio);
  canvas.height = Math.round(clientHeight * devicePixelRatio);
  const across = canvas.width / map.image.width;
  const down = canvas.height / map.image.height;
  const [left, top, right, bottom] = map.box;
  const seen = [left * across, top * down, (right - left) * across, (bottom - top) * down];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(cells(map.values, scale), ...seen);
  if (isCut(map)) {
    hatch(context, canvas, seen);
  }
}

function cells(values, scale) {
  const small = Object.assign(document.createElement("canvas"), { width: values[0].length, height: values.length });
  const context = small.getContext("2d");
  const pixels = context.createImageData(small.width, small.height);
  values.flat().forEach((value, cell) => {
    const strength = Math.min(1, Math.abs(value) / (scale || 1));
    pixels.data.set([...(value < 0 ? TAKES : ADDS), 255 * STRONGEST * strength], 4 * cell);
  });
  context.putImageData(pixels, 0, 0);
  return small;
}

// Dark and striped, which no heat is: what the model did not see is not cold.
function hatch(context, { width, height }, seen) {
  const step = HATCH * devicePixelRatio;
  context.save();
  context.beginPath();
  context.rect(0, 0, width, height);
  context.rect(...seen);
  context.clip("evenodd");
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "rgb(255 255 255 / 45%)";
  context.lineWidth = devicePixelRatio;
  context.beginPath();
  for (let start = -height; start < width; start += step) {
    context.moveTo(start, height);
    context.lineTo(start + height, 0);
  }
  context.stroke();
  context.restore();
}

new ResizeObserver(() => {
  if (shown) {
    draw();
  }
}).observe($("preview"));
