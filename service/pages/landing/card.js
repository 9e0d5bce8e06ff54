// The model's card: what GET /model says, in words.

const $ = (id) => document.getElementById(id);

const figure = (value) => (value && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(2))));

function preparation({ height, width, resize, shorter_side: side }) {
  const how = resize === "crop" ? `cropped from a shorter side of ${side}` : { pad: "padded", stretch: "stretched" }[resize];
  return `${width} × ${height}, ${how}`;
}

function parityOf({ images, batch_sizes: sizes, max_logit_difference: difference, tolerance }) {
  return `logits of training and of this file differ by ${figure(difference)} at most, ${figure(tolerance)} allowed; `
    + `validation images: ${images}, in batches of ${sizes.join(", ")}`;
}

const outputsOf = (outputs) => outputs.map(({ name, shape }) => [name, shape.join(" × ")].filter(Boolean).join(" ")).join(", ");

function familiarityOf({ threshold, max_false_alarms: asked, reached, photos }) {
  return `foreign below ${threshold.toFixed(3)}, set for ${figure(100 * reached)} % false alarms (${figure(100 * asked)} % asked for) `
    + `by training photos: ${photos}`;
}

function engineOf({ engine, engine_version: version, cpu, cpu_features: features, card_difference: difference }) {
  return `${engine} ${version} on ${[cpu, ...features].join(" ")}; test card within ${figure(difference)}`;
}

function named(metric) {
  const words = metric.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

const measured = (name, value) => (name.includes("accuracy") ? `${(100 * value).toFixed(1)} %` : figure(value));

export function drawCard(model) {
  const facts = [
    ["Labels", model.labels.join(", ")],
    ["Net", model.base],
    ...Object.entries(model.metrics).map(([name, value]) => [named(name), measured(name, value)]),
    ["Parity", parityOf(model.parity)],
    ["Outputs", outputsOf(model.outputs)],
    ...(model.familiarity ? [["Familiarity", familiarityOf(model.familiarity)]] : []),
    ["Precision", model.precision],
    ["Provider", model.provider],
    ["Runs", model.execution],
    ["Engine", engineOf(model.passport)],
    ["Pixels", preparation(model.pixels)],
    ["Temperature", String(Number(model.temperature.toFixed(3)))],
    ["Thresholds", Object.entries(model.thresholds ?? {}).map(([label, least]) => `${label} ${least}`).join(", ") || "none"],
    ["Version", model.version],
  ];
  $("name").textContent = model.name === "salver" ? "" : model.name;
  $("facts").replaceChildren(...facts.flatMap(([term, text]) => [
    Object.assign(document.createElement("dt"), { textContent: term }),
    Object.assign(document.createElement("dd"), { textContent: text }),
  ]));
}
