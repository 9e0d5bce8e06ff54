// What a threshold for one label would do, and the command that sets it.

const STRIP = 24; // small pictures of images that change, at most

// A word for the shell.
const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const thresholds = {
  start() {
    options($("thresholded"), labels.map((label, index) => [index, label]));
    $("thresholded").addEventListener("input", () => this.choose());
    $("slider").addEventListener("input", () => this.move($("slider").value));
    $("limit").addEventListener("input", () => this.move($("limit").value));
    $("show-changed").addEventListener("click", () => this.showChanged());
    $("copy").addEventListener("click", () => copy($("command").textContent));
    this.choose();
  },

  // Another label: its images by falling score, and the curve over them.
  choose() {
    this.label = Number($("thresholded").value);
    this.given = images.filter((image) => image.predicted === this.label).sort((one, other) => other.score - one.score);
    this.truths = images.filter((image) => image.truth === this.label).length;
    const curve = { name: "precision and recall as the threshold falls", x: [], y: [] };
    let right = 0;
    this.given.forEach((image, index) => {
      right += isRight(image) ? 1 : 0;
      if (this.truths && this.given[index + 1]?.score !== image.score) {
        curve.x.push(right / this.truths);
        curve.y.push(right / (index + 1));
      }
    });
    const name = labels[this.label];
    this.chart = chart({ title: `Threshold for ${name}`, xLabel: "recall", yLabel: "precision", lines: [curve] });
    this.dot = svg("circle", { class: "dot", r: 6 });
    this.chart.drawn.append(this.dot);
    $("trade").replaceChildren(this.chart.drawn);
    this.move(String(thresholdOf(name)));
  },

  // `value` is a text, so that the command says exactly what was set.
  move(value) {
    const limit = Math.min(1, Math.max(0, Number(value) || 0));
    if ($("slider").value !== value) $("slider").value = limit;
    if ($("limit").value !== value) $("limit").value = limit;
    const accepted = this.given.filter((image) => image.score >= limit);
    const right = accepted.filter(isRight).length;
    const [precision, recall] = [accepted.length ? right / accepted.length : null, this.truths ? right / this.truths : null];
    $("precision").value = precision === null ? "– (none is accepted)" : number(precision);
    $("recall").value = recall === null ? "– (no image has the label)" : number(recall);
    $("accepted").value = `${accepted.length} of ${plural(this.given.length, "image")}`;
    this.dot.setAttribute("visibility", precision === null || recall === null ? "hidden" : "visible");
    this.dot.setAttribute("cx", this.chart.x(recall ?? 0));
    this.dot.setAttribute("cy", this.chart.y(precision ?? 0));
    this.drawChanged(limit);
    $("command").textContent = `${data.command} --label=${quoted(labels[this.label])} --threshold=${limit}`;
  },

  // Images that this threshold answers otherwise than the one in the model file.
  drawChanged(limit) {
    const now = thresholdOf(labels[this.label]);
    this.range = [Math.min(limit, now), Math.max(limit, now)];
    const moved = this.given.filter(({ score }) => score >= this.range[0] && score < this.range[1]);
    const what = limit > now ? "would get no label any more" : "would get the label again";
    $("changing").value = moved.length ? `${plural(moved.length, "image")} ${what}` : "none";
    $("changed").replaceChildren(...moved.slice(0, STRIP).map((image) => {
      const small = picture(image);
      small.title = `${image.name}, ${number(image.score, 3)}`;
      return small;
    }));
    $("show-changed").disabled = !moved.length;
    this.moved = moved;
  },

  showChanged() {
    const scores = this.moved.map(({ score }) => score);
    showImages({ predicted: String(this.label), low: Math.min(...scores), high: Math.max(...scores) });
  },
};

// The clipboard may be closed to a page from disk; a selected text can then be copied the old way.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren($("command"));
    document.execCommand("copy");
  }
  $("copy").textContent = "Copied";
}
