// The page: an image comes in by file, drop, paste or URL, and is scored.

import { clearAnswer, drawAnswer, drawProblem, markPicked } from "./answer.js";
import { drawCard } from "./card.js";
import { clearHeat, largest, showHeat } from "./heat.js";
import { Refused, curlCommand, fileRequest, getModel, score, urlRequest, useKey } from "./service.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 2000;
const SILENCE = "The service did not answer, or closed the connection: is it running, and is the image within its limits?";

let model = null;
let image = null;  // a function of the parameters that makes the request
let running = new AbortController();
let pictured = Promise.resolve();  // until the preview can be seen, or cannot
let scale = null;  // of the image's heat: one for all labels, the best label's largest value

const reason = (error) => (error instanceof Refused ? error.message : SILENCE);

async function showModel() {
  try {
    model = await getModel();
  } catch (error) {
    await modelMissing(error);
    return;
  }
  $("loading").textContent = "";
  $("access").hidden = true;
  $("key").value = "";
  drawCard(model);
  await run();
}

async function modelMissing(error) {
  if (error.status === 401) {
    askForKey(error);
    return;
  }
  $("loading").textContent = reason(error);
  setTimeout(showModel, RETRY_MS);
}

function askForKey(error) {
  $("refusal").textContent = $("key").value ? `This key was not accepted. ${reason(error)}` : "";
  $("loading").textContent = "The model is shown once there is a key.";
  $("access").hidden = false;
  $("key").focus();
}

async function run() {
  if (!image || !model) {
    return;
  }
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const softmax = $("softmax").checked;
  const request = image({ add_softmax: softmax, familiarity: has("familiarity") });
  clearAnswer("Scoring …");
  forgetHeat();
  try {
    const { body, version } = await score(request, signal);
    if (version !== model.version) {  // another model is served since: its labels count
      model = await getModel();
      drawCard(model);
    }
    await pictured;
    if (signal.aborted) {
      return;
    }
    drawAnswer(body, model, softmax, curlCommand(request), canLook() ? look : null);
    $("looking").hidden = !canLook();
    if (canLook() && $("look").checked) {
      await lookAt(null, signal);
    }
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    drawProblem(reason(error));
    $("looking").hidden = true;
    if (error.status === 401) {
      askForKey(error);
    }
  }
}

const has = (name) => model.outputs.some((output) => output.name === name);

// Heat lies on the picture, so it needs one that this browser can show.
const canLook = () => has("heat") && !$("preview").hidden;

function forgetHeat() {
  scale = null;
  clearHeat();
  markPicked(null);
}

// Shows the heat of a label, by its index: null is the best one's, by which the scale is set.
async function lookAt(index, signal) {
  const best = scale === null ? await heatOf(true, signal) : null;
  scale ??= largest(best);
  const map = index === null || index === best?.label_index ? best : await heatOf(model.labels[index], signal);
  showHeat(map, scale);
  markPicked(map.label_index);
}

async function heatOf(label, signal) {
  const { body } = await score(image({ heat_map: label }), signal);
  return body[0].heat_map;
}

async function look(index) {
  const { signal } = running;
  $("look").checked = true;
  try {
    await lookAt(index, signal);
  } catch (error) {
    if (!signal.aborted) {
      $("problem").textContent = reason(error);
    }
  }
}

function preview(file) {
  URL.revokeObjectURL($("preview").src);
  $("preview").hidden = true;
  if (file) {
    $("preview").src = URL.createObjectURL(file);
    pictured = $("preview").decode().then(() => { $("preview").hidden = false; }, () => {});
  } else {
    $("preview").removeAttribute("src");
  }
}

function takeFile(file) {
  image = (parameters) => fileRequest(file, parameters);
  preview(file);
  $("chosen").textContent = `${file.name}, ${Math.ceil(file.size / 1024).toLocaleString("en")} KiB`;
  return run();
}

function takeUrl(url) {
  image = (parameters) => urlRequest(url, parameters);
  preview(null);
  $("chosen").textContent = `${url} (fetched by the service, not shown here)`;
  return run();
}

// A file, or the address of a picture that was dragged or copied from another page.
function takeTransfer(transfer) {
  const [file] = transfer.files;
  const text = (transfer.getData("text/uri-list") || transfer.getData("text/plain")).split("\n", 1)[0].trim();
  if (file) {
    takeFile(file);
  } else if (/^https?:\/\//i.test(text)) {
    takeUrl(text);
  } else {
    drawProblem("That is neither an image nor the URL of one.");
  }
}

$("look").addEventListener("change", () => ($("look").checked ? look(null) : forgetHeat()));
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) {
    takeFile(file);
  }
});
$("fetching").addEventListener("submit", (event) => {
  event.preventDefault();
  takeUrl($("url").value.trim());
});
$("softmax").addEventListener("change", run);
$("access").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey($("key").value.trim());
  showModel();
});
document.addEventListener("paste", (event) => {
  if (event.target.matches("#url, #key") && !event.clipboardData.files.length) {
    return;
  }
  event.preventDefault();
  takeTransfer(event.clipboardData);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
  });
}
document.addEventListener("drop", (event) => takeTransfer(event.dataTransfer));

showModel();
