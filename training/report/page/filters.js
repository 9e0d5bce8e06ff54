// Which images are shown.

const KINDS = {
  all: ["all", () => true],
  wrong: ["wrong", (image) => !isRight(image)],
  right: ["right", isRight],
  abstained: ["abstained", abstains],
  unanswered: ["no answer", (image) => image.predicted < 0],
};
if (data.answers.foreign) {
  KINDS.foreign = ["foreign", (image) => image.foreign];
  KINDS.familiar = ["familiar", (image) => !image.foreign];
}
if (data.answers.old) {
  KINDS.changed = ["changed", isChanged];
  KINDS.better = ["newly right", (image) => isRight(image) && !image.oldRight];
  KINDS.worse = ["newly wrong", (image) => !isRight(image) && image.oldRight];
}

const ORDERS = { worst: "worst first", unfamiliar: "least familiar first" };
const rank = (image) => image.familiarity ?? -Infinity; // no number is the least

const filters = {
  // Numbers that are no numbers let everything through, as an emptied field should.
  matching() {
    const [, passes] = KINDS[$("show").value];
    const [truth, predicted] = [$("truth").value, $("predicted").value];
    const [low, high] = [parseFloat($("low").value), parseFloat($("high").value)];
    const found = images.filter((image) => passes(image)
      && (truth === "" || image.truth === Number(truth))
      && (predicted === "" || image.predicted === Number(predicted))
      && !(image.score < low) && !(image.score > high));
    if ($("order").value !== "unfamiliar") return found;
    return found.sort((one, other) => (rank(one) < rank(other) ? -1 : Number(rank(one) > rank(other))));
  },

  set({ show = "all", order = "worst", truth = "", predicted = "", low = 0, high = 1 }) {
    Object.entries({ show, order, truth, predicted, low, high }).forEach(([id, value]) => { $(id).value = value; });
    this.changed();
  },

  changed() {
    const found = this.matching();
    $("shown").textContent = `${found.length.toLocaleString("en")} of ${plural(images.length, "image")}`;
    grid.show(found);
  },

  start() {
    const named = labels.map((label, index) => [index, label]);
    options($("show"), Object.entries(KINDS).map(([kind, [text]]) => [kind, text]));
    options($("order"), Object.entries(ORDERS));
    $("order").parentElement.hidden = !data.answers.familiarity;
    options($("truth"), [["", "any"], ...named]);
    options($("predicted"), [["", "any"], ...named, ...(test.non_finite ? [[-1, "no answer"]] : [])]);
    $("filters").addEventListener("input", () => this.changed());
    $("filters").addEventListener("reset", () => setTimeout(() => this.changed()));
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    this.changed();
  },
};

// What another section of the page points at.
function showImages(chosen) {
  filters.set(chosen);
  $("images").scrollIntoView();
  $("grid").focus({ preventScroll: true });
}
