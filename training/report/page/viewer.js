// One image large, with everything that is known about it.

const viewer = {
  map: 0, // which of an image's heat maps is shown; -1 for none

  open() {
    this.draw();
    if (!$("view").open) $("view").showModal();
  },

  draw() {
    const image = grid.current;
    this.drawHeat(image);
    $("name").textContent = image.name;
    const rows = [
      ["Truth", labels[image.truth]],
      ["Predicted", labelName(image.predicted)],
      ["Score", image.predicted < 0 ? "–" : number(image.score)],
      ["Loss", image.loss === null ? "–" : number(image.loss)],
      ["Answer", abstains(image) ? `none: below the threshold ${thresholdOf(labels[image.predicted])}`
        : isRight(image) ? "right" : "wrong"],
    ];
    if (image.old !== undefined) rows.splice(2, 0, ["Old model", image.old || "no answer"]);
    if (image.familiarity !== undefined) rows.push(["Familiarity", familiarityOf(image, true)]);
    $("answer").replaceChildren(...rows.flatMap(([term, value]) => [
      element("dt", { textContent: term }), element("dd", { textContent: value })]));
    const found = bestScores(image);
    $("scores-title").textContent = found.length < labels.length && found.length
      ? `The ${found.length} best of ${labels.length} scores` : "All scores";
    $("scores").replaceChildren(...found.map(({ label, score }) => element("li", {},
      element("span", { textContent: label, title: label }), element("meter", { value: score, max: 1 }),
      element("span", { textContent: number(score) }))));
  },

  // The picture, and a button for each of its maps.
  drawHeat(image) {
    const known = heat.of(image);
    const focused = $("maps").contains(document.activeElement);
    const chosen = known ? Math.min(this.map, known.labels.length - 1) : -1;
    const large = heat.over(picture(image), image, chosen);
    large.classList.add("shown");
    $("large").replaceChildren(large);
    const choices = [...(known?.labels ?? []).map((label, map) => [map, labels[label]]), [-1, "none"]];
    $("maps").hidden = !known;
    $("maps").replaceChildren(`${heat.name} for `, ...choices.map(([map, text]) => {
      const button = element("button", { type: "button", textContent: text });
      button.setAttribute("aria-pressed", map === chosen);
      button.addEventListener("click", () => {
        this.map = map;
        this.drawHeat(image);
      });
      return button;
    }));
    // Its button is another one now, and arrow keys are to go on.
    if (focused) ($("maps").querySelector("[aria-pressed=true]") ?? $("view")).focus();
  },

  start() {
    $("view").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      grid.moveTo(grid.cursor + step);
      this.draw();
    });
    $("view").addEventListener("click", (event) => { if (event.target === $("view")) $("view").close(); });
    $("view").addEventListener("close", () => $("grid").focus({ preventScroll: true }));
  },
};
