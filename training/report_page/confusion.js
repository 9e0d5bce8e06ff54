// The confusion matrix: a table of buttons, or with many labels a picture and the commonest mistakes as buttons.

const TABLED_LABELS = 30;
const LISTED_PAIRS = 40;

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

  canvas() {
    const size = labels.length;
    const canvas = element("canvas", { width: size, height: size, title: "Click a mark to see its images" });
    const context = canvas.getContext("2d");
    const [red, green, blue] = getComputedStyle(document.documentElement).getPropertyValue("--cell").trim().split(" ");
    for (const key of this.counts.keys()) {
      const [truth, predicted] = key.split(" ").map(Number);
      context.fillStyle = `rgb(${red} ${green} ${blue} / ${0.35 + 0.65 * this.share(truth, predicted)})`;
      context.fillRect(predicted, truth, 1, 1);
    }
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const [predicted, truth] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map((place) => Math.min(size - 1, Math.max(0, Math.floor(place * size))));
      showImages({ truth: String(truth), predicted: String(predicted) });
    });
    return canvas;
  },

  listPairs() {
    const mistakes = [...this.counts].map(([key, count]) => [...key.split(" ").map(Number), count])
      .filter(([truth, predicted]) => truth !== predicted).sort((one, other) => other[2] - one[2]);
    const buttons = mistakes.slice(0, LISTED_PAIRS).map(([truth, predicted, count]) => {
      const text = `${labels[truth]} → ${labels[predicted]}: ${count}`;
      const button = element("button", { type: "button", textContent: text });
      button.addEventListener("click", () => showImages({ truth: String(truth), predicted: String(predicted) }));
      return button;
    });
    $("pairs").replaceChildren(element("h3", { textContent: "The commonest mistakes, truth → predicted" }), ...buttons);
  },
};
