// One image large, with everything that is known about it.

const viewer = {
  open() {
    this.draw();
    if (!$("view").open) $("view").showModal();
  },

  draw() {
    const image = grid.current;
    $("large").replaceChildren(picture(image));
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
    $("answer").replaceChildren(...rows.flatMap(([term, value]) => [
      element("dt", { textContent: term }), element("dd", { textContent: value })]));
    const found = bestScores(image);
    $("scores-title").textContent = found.length < labels.length && found.length
      ? `The ${found.length} best of ${labels.length} scores` : "All scores";
    $("scores").replaceChildren(...found.map(({ label, score }) => element("li", {},
      element("span", { textContent: label, title: label }), element("meter", { value: score, max: 1 }),
      element("span", { textContent: number(score) }))));
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
