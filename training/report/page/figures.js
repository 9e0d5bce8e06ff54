// Cards, curves and tables: what metrics.json says.

const figures = {
  start() {
    this.cards();
    this.seen();
    this.remarks();
    this.curves();
    this.calibration();
    this.epochs();
    this.labels();
    if (metrics.by_folds) this.folds(metrics.by_folds);
    this.provenance();
    if (metrics.comparison) this.comparison(metrics.comparison);
  },

  cards() {
    const { calibration: { error_before: before, error_after: after, temperature }, abstention } = test;
    const cards = [
      ["Accuracy, overall", test.accuracy],
      ["Accuracy, class-averaged", test.class_averaged_accuracy],
      ...test.top_k.map(({ k, accuracy }) => [`Top-${k} accuracy`, accuracy]),
      ["F1, macro", test.macro_f1],
      ["Area under ROC, macro", test.macro.roc.area],
      ["Average precision, macro", test.macro.precision_recall.average_precision],
      [temperature === null ? "Calibration error" : "Calibration error, calibrated", temperature === null ? before : after],
    ];
    if (Object.keys(abstention.thresholds).length) {
      cards.push(["Answered, with thresholds", abstention.coverage], ["Accuracy of the answered", abstention.accuracy]);
    }
    if (test.familiarity) cards.push(["Called foreign", test.familiarity.false_alarms]);
    if (metrics.foreign) cards.push(["Foreign photos rejected", metrics.foreign.rejected]);
    $("cards").replaceChildren(...cards.map(([name, estimate]) => element("div", {},
      element("dt", { textContent: name }),
      element("dd", { textContent: number(estimate.value) }, small(estimate)))));
    const { data: set, foreign } = metrics;
    $("about").textContent = `${plural(set.images, "image")}, ${plural(labels.length, "label")}`
      + (set.folder ? `, from ${set.folder}` : "")
      + (metrics.by_folds ? ", each scored by a net that did not learn it" : "") + ". Below each figure its 95 % interval."
      + (foreign ? ` The foreign photos are ${plural(foreign.images, "image")} from ${foreign.folder}.` : "");
  },

  // The first line is how it is, the others are what is wrong with it.
  seen() {
    $("seen").replaceChildren(...data.seen.map((text) => element("li", { textContent: text })));
  },

  remarks() {
    const absent = test.absent_labels;
    const cut = images.length > data.thumbnails.length;
    const remarks = [
      absent.length && `${plural(absent.length, "label")} without images in this set, left out of averages: `
        + absent.slice(0, 10).join(", ") + (absent.length > 10 ? ", …" : ""),
      test.non_finite && `${plural(test.non_finite, "image")} without an answer (a logit is not finite), counted as wrong`,
      test.abstention.abstained && `${plural(test.abstention.abstained, "image")} below the thresholds; accuracies above count them by their best label`,
    ];
    remarks.push(...data.balanced);
    if (test.familiarity?.unknown) {
      remarks.push(`${plural(test.familiarity.unknown, "image")} whose familiarity is no number, called foreign`);
    }
    $("remarks").replaceChildren(...remarks.filter(Boolean).map((text) => element("li", { textContent: text })));
    const some = data.thumbnails.length.toLocaleString("en");
    const which = data.answers.familiarity ? `The worst and the least familiar, ${some} together,` : `The first ${some}`;
    $("cut").textContent = cut ? `${which} have a picture; --max-thumbnails gives more.` : "";
  },

  curves() {
    options($("curved"), labels.map((label, index) => [index, label]));
    $("curved").addEventListener("input", () => this.drawCurves());
    this.drawCurves();
  },

  drawCurves() {
    const chosen = test.labels[$("curved").value];
    const sources = [[chosen.label, chosen.curves], ["micro", test.micro], ["macro", test.macro]];
    const lines = (kind, x, y, area) => sources.map(([name, curves]) => ({
      name: `${name}: ${curves[kind][area].value === null ? curves[kind][area].reason : number(curves[kind][area].value)}`
        + (curves[kind][area].low === null ? "" : ` (${interval(curves[kind][area])})`),
      x: curves[kind][x],
      y: curves[kind][y],
    }));
    $("roc").replaceChildren(chart({
      title: "ROC, and the area under it", xLabel: "false positive rate", yLabel: "true positive rate", ideal: [[0, 0], [1, 1]],
      lines: lines("roc", "false_positive_rate", "true_positive_rate", "area"),
    }).drawn);
    $("falls").replaceChildren(chart({
      title: "Precision and recall, and average precision", xLabel: "recall", yLabel: "precision",
      lines: lines("precision_recall", "recall", "precision", "average_precision"),
    }).drawn);
  },

  calibration() {
    const { calibration: found, coverage } = test;
    const said = (estimate) => (estimate.value === null ? estimate.reason : number(estimate.value) + (interval(estimate) && ` (${interval(estimate)})`));
    $("calibrated").textContent = metrics.by_folds
      ? `Expected calibration error: ${said(found.error_after)}, each net's scores after a temperature of its own.`
      : `Expected calibration error: ${said(found.error_before)} as the net gives scores`
      + (found.temperature === null ? `; after calibration none, because ${found.error_after.reason}.`
        : `, ${said(found.error_after)} after the temperature ${number(found.temperature, 3)}.`);
    const line = (name, bins) => {
      const full = bins.filter((bin) => bin.images);
      return {
        name, x: full.map((bin) => bin.confidence), y: full.map((bin) => bin.accuracy),
        marks: full.map((bin) => 1.5 + 9 * Math.sqrt(bin.images / images.length)), // by area
      };
    };
    const lines = metrics.by_folds ? [] : [line("before the temperature", found.bins_before)];
    if (found.bins_after.length) lines.unshift(line("after the temperature", found.bins_after));
    $("reliability").replaceChildren(chart({
      title: "Reliability; larger marks have more images", xLabel: "best score, mean of a bin", yLabel: "accuracy",
      ideal: [[0, 0], [1, 1]], lines,
    }).drawn);
    $("coverage").replaceChildren(chart({
      title: "Accuracy of the surest images", xLabel: "share of images answered", yLabel: "accuracy of these",
      lines: [{ name: "one threshold for all labels", x: coverage.coverage, y: coverage.accuracy }],
    }).drawn);
  },

  epochs() {
    const { training, validation } = data.epochs;
    if (!training.length) return;
    const x = training.map((_, index) => index + 1);
    const marks = x.map(() => 3);
    const step = Math.ceil(x.length / 10);
    const xTicks = [...x.filter((epoch) => epoch % step === 1 % step)];
    if (xTicks.at(-1) !== x.at(-1)) xTicks.push(x.at(-1));
    $("epochs").replaceChildren(chart({
      title: "Accuracy in each epoch", xLabel: "epoch", yLabel: "accuracy", xTicks,
      lines: [{ name: "training, mean over the epoch", x, y: training, marks },
        { name: "validation, after the epoch", x, y: validation }],
    }).drawn);
  },

  labels() {
    const columns = ["Label", "Images", "Sum of scores", "Predicted", "Precision", "Recall", "F1", "Area under ROC", "Average precision"];
    const head = element("tr", {}, ...columns.map((text) => element("th", { textContent: text, scope: "col" })));
    const rows = test.labels.map((row) => element("tr", {},
      element("th", { textContent: row.label, scope: "row" }),
      element("td", { textContent: row.support }), element("td", { textContent: row.score_sum.toFixed(1) }),
      element("td", { textContent: row.predicted }),
      ...[row.precision, row.recall, row.f1, row.curves.roc.area, row.curves.precision_recall.average_precision]
        .map((estimate) => element("td", { textContent: number(estimate.value) }, small(estimate)))));
    $("labels").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  },

  folds({ folds: found, asked, always_learnt: lone }) {
    $("by-fold").hidden = false;
    $("fold-link").hidden = false;
    const columns = ["Fold", "Images", "Accuracy", "Resize", "Temperature"];
    const head = element("tr", {}, ...columns.map((text) => element("th", { textContent: text, scope: "col" })));
    const body = found.map((fold, index) => element("tr", {},
      element("th", { textContent: index + 1, scope: "row" }),
      element("td", { textContent: fold.images }),
      element("td", { textContent: number(fold.accuracy.value) }, small(fold.accuracy)),
      element("td", { textContent: fold.resize }),
      element("td", { textContent: number(fold.temperature, 3), title: fold.reason ?? "" })));
    $("folds").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
    const notes = [
      found.length < asked && `${found.length} folds in place of ${asked}: only so many images, or groups of images that belong together, are apart from one another.`,
      lone.length && `Always learnt and never tested, as all images of their label are one or belong together: ${lone.slice(0, 10).join(", ")}${lone.length > 10 ? ", …" : ""}.`,
      found.some((fold) => fold.reason) && found.find((fold) => fold.reason).reason,
    ];
    $("fold-notes").replaceChildren(...notes.filter(Boolean).map((text) => element("li", { textContent: text })));
  },

  provenance() {
    const { model, data: set, by_folds: nets } = metrics;
    const counts = (found) => Object.entries(found).slice(0, 30).map(([label, count]) => `${label} ${count}`).join(", ")
      + (Object.keys(found).length > 30 ? ", …" : "");
    rows($("data-set"), "Images", {
      folder: set.folder, images: set.images, "of each label": counts(set.counts), fingerprint: set.fingerprint,
    });
    if (nets) {
      rows($("model"), "Model", {
        nets: `${nets.folds.length} of ${nets.base}, weights ${nets.weights}, ${nets.head}; none was kept`, seed: nets.seed,
      });
      return;
    }
    if (!model) {
      rows($("model"), "Model", { file: "none: the classifier has not been exported" });
      return;
    }
    const { provenance: from, pixels } = model;
    rows($("model"), "Model", {
      file: model.file,
      version: model.sha256,
      net: `${model.base}, weights ${model.weights}, ${model.head}, ${model.precision}`,
      pixels: `${pixels.height} × ${pixels.width}, ${pixels.resize}, ${pixels.interpolation}`,
      temperature: number(model.temperature),
      thresholds: counts(model.thresholds) || "none",
      familiarity: familiarityFact(test.familiarity),
      "trained on": counts(from.counts),
      "their fingerprint": from.data_fingerprint,
      seed: from.seed,
      "parity with torch": `largest logit difference ${from.parity.max_logit_difference.toExponential(1)} over `
        + `${plural(from.parity.images, "image")} at batch ${from.parity.batch_sizes.join(", ")}; tolerance ${from.parity.tolerance.toExponential(1)}`,
      "git revision": from.git_revision ?? "unknown",
      versions: counts(from.versions),
    });
  },

  comparison(found) {
    $("comparison").hidden = false;
    const signed = (estimate) => `${estimate.value >= 0 ? "+" : ""}${number(estimate.value)}`
      + (interval(estimate) && ` (${interval(estimate)})`);
    $("compared").textContent = `Against ${found.old?.file ?? "a classifier"}: accuracy ${number(found.old_accuracy.value)} → `
      + `${number(test.accuracy.value)}, a difference of ${signed(found.difference)}; class-averaged `
      + `${number(found.old_class_averaged_accuracy)} → ${number(test.class_averaged_accuracy.value)}, `
      + `${signed(found.class_averaged_difference)}. ${plural(found.only_new_right, "image")} newly right, `
      + `${found.only_old_right} newly wrong; McNemar's test p = ${number(found.p_value, 3)}. `
      + `${plural(found.changed, "image")} with another answer, listed first below.`
      + (found.old_seen?.train + found.old_seen?.validation > 0
        ? ` The old model was trained on ${found.old_seen.train} of these images and watched ${found.old_seen.validation}: its figures are too good.` : "");
    const moved = found.labels.filter(({ old, new: now }) => old !== now);
    if (!moved.length) return;
    const head = element("tr", {}, ...["Label", "Old recall", "New recall"].map((text) => element("th", { textContent: text, scope: "col" })));
    $("changes").replaceChildren(element("thead", {}, head), element("tbody", {}, ...moved.map((row) => element("tr", {},
      element("th", { textContent: row.label, scope: "row" }),
      element("td", { textContent: number(row.old) }), element("td", { textContent: number(row.new) })))));
  },
};

function familiarityFact(found) {
  if (!found) return "none";
  const less = found.reached > found.max_false_alarms ? ", the least that so few photos can give," : "";
  return `foreign below ${number(found.threshold)}; asked for ${found.max_false_alarms} false alarms, set for `
    + `${number(found.reached)}${less} by ${plural(found.photos, "training photo")}`;
}

function small(estimate) {
  return element("small", { textContent: interval(estimate), title: estimate.reason ?? "" });
}

function rows(table, title, values) {
  table.replaceChildren(element("caption", { textContent: title, hidden: true }),
    ...Object.entries(values).map(([name, value]) => element("tr", {},
      element("th", { textContent: name, scope: "row" }), element("td", { textContent: value }))));
}
