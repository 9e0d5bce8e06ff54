"use strict";
// What the page is about: the figures, and one object for each image, the worst first.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { labels, metrics } = data;
const { test } = metrics;

const images = data.answers.names.map((name, index) => ({
  index,
  name,
  truth: data.answers.truths[index],
  predicted: data.answers.predictions[index],
  score: data.answers.scores[index],
  loss: data.answers.losses[index],
  old: data.answers.old?.[index],
  oldRight: data.answers.old_right?.[index],
  familiarity: data.answers.familiarity?.[index], // null for no number, undefined for a model without
  foreign: data.answers.foreign?.[index],
}));

const isRight = (image) => image.truth === image.predicted;
const labelName = (index) => labels[index] ?? "no answer";
const thresholdOf = (label) => test.abstention.thresholds[label] ?? 0;
const abstains = (image) => image.predicted >= 0 && image.score < thresholdOf(labels[image.predicted]);
const isChanged = (image) => image.old !== undefined && image.old !== (labels[image.predicted] ?? "");

function uint16(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return Array.from({ length: bytes.length / 2 }, (_, index) => bytes[2 * index] + 256 * bytes[2 * index + 1]);
}

let decoded;
// The best labels of an image and their probabilities.
function bestScores(image) {
  decoded ??= { labels: uint16(data.best.labels), scores: uint16(data.best.scores) };
  const { count } = data.best;
  return Array.from({ length: image.predicted < 0 ? 0 : count }, (_, place) => ({
    label: labels[decoded.labels[image.index * count + place]],
    score: decoded.scores[image.index * count + place] / 65535,
  }));
}

const pictureOf = new Map(data.pictured.map((place, index) => [place, index]));

function picture(image) {
  const jpeg = data.thumbnails[pictureOf.get(image.index)];
  return jpeg
    ? element("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: "", decoding: "async" })
    : element("div", { className: "none", textContent: "no picture" });
}

// An element with properties and children; texts stay texts, whatever is in them.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const number = (value, digits = 4) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const interval = (estimate) => (estimate.low === null ? "" : `${number(estimate.low, 3)} to ${number(estimate.high, 3)}`);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
}
