// The confusion matrix: a table of buttons, or with many labels a picture and the commonest mistakes as buttons.

const TABLED_LABELS = 30;
const LISTED_PAIRS = 40;
const SIDE = 1000; // of the picture, and its smallest mark, in pixels
const SMALLEST_MARK = 4;

const confusion = {
  start() {
    this.counts = new Map(); // "truth predicted" → images
    this.support = new Array(labels.length).fill(0);
    for (const { truth, predicted } of images) {
      this.support[truth] += 1;
      if (predicted >= 0) this.counts.set(`${truth} ${predicted}`, this.at(truth, predicted) + 1);
    }
    $("matrix").replaceChildren(labels.length <= TABLED_LABELS ? this.table() : this.canvas());
    if (labels.length > TABLED_LABELS) this.listPairs();
  },

  at(truth, predicted) {
    return this.counts.get(`${truth} ${predicted}`) ?? 0;
  },

  share(truth, predicted) {
    return this.support[truth] ? this.at(truth, predicted) / this.support[truth] : 0;
  },

  table() {
    const head = element("tr", {}, element("th", { textContent: "truth \\ predicted" }),
      ...labels.map((label) => element("th", { textContent: label, scope: "col" })));
    const rows = labels.map((label, truth) => element("tr", {}, element("th", { textContent: label, scope: "row" }),
      ...labels.map((_, predicted) => element("td", {}, this.cell(truth, predicted)))));
    return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  },

  cell(truth, predicted) {
    const [count, share] = [this.at(truth, predicted), this.share(truth, predicted)];
    const cell = element("button", { type: "button", textContent: count, disabled: !count });
    const said = `${plural(count, "image")} of ${labels[truth]} predicted as ${labels[predicted]}, ${number(share, 3)} of them`;
    cell.setAttribute("aria-label", said);
    cell.title = said;
    cell.style.background = count ? `rgb(var(--cell) / ${0.12 + 0.55 * share})` : "none";
    cell.addEventListener("click", () => showImages({ truth: String(truth), predicted: String(predicted) }));
    return cell;
  },

  // A mark is never smaller than can be seen; a click finds the nearest one.
  canvas() {
    const scale = SIDE / labels.length;
    const size = Math.max(scale, SMALLEST_MARK);
    const canvas = element("canvas", { width: SIDE, height: SIDE, title: "Click a mark to see its images" });
    const context = canvas.getContext("2d");
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--cell");
    for (const [truth, predicted] of this.cells()) {
      context.fillStyle = `rgb(${colour} / ${0.4 + 0.6 * this.share(truth, predicted)})`;
      context.fillRect((predicted + 0.5) * scale - size / 2, (truth + 0.5) * scale - size / 2, size, size);
    }
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const [column, row] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map((place) => place * labels.length - 0.5);
      const far = ([truth, predicted]) => Math.hypot(truth - row, predicted - column);
      const [truth, predicted] = this.cells().reduce((best, cell) => (far(cell) < far(best) ? cell : best));
      showImages({ truth: String(truth), predicted: String(predicted) });
    });
    return canvas;
  },

  // [truth, predicted, images] of every cell that has images.
  cells() {
    return [...this.counts].map(([key, count]) => [...key.split(" ").map(Number), count]);
  },

  listPairs() {
    const mistakes = this.cells().filter(([truth, predicted]) => truth !== predicted).sort((one, other) => other[2] - one[2]);
    const buttons = mistakes.slice(0, LISTED_PAIRS).map(([truth, predicted, count]) => {
      const text = `${labels[truth]} → ${labels[predicted]}: ${count}`;
      const button = element("button", { type: "button", textContent: text });
      button.addEventListener("click", () => showImages({ truth: String(truth), predicted: String(predicted) }));
      return button;
    });
    $("pairs").replaceChildren(element("h3", { textContent: "The commonest mistakes, truth → predicted" }), ...buttons);
  },
};
