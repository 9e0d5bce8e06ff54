// The page: what keys and buttons do, and what stands around the grid.

import { Album } from "./album.js";
import { Grid } from "./grid.js";
import { getVersion, picture } from "./server.js";

const $ = (id) => document.getElementById(id);
const POLL_MS = 2000;

const album = new Album();
const grid = new Grid($("grid"), $("sizer"), (image) => album.labelOf(image), (image) => album.doubtOf(image));

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

function refresh() {
  drawFilters();
  grid.show(album.matching($("filter").value, $("text").value));
  $("root").textContent = album.root;
  $("shown").textContent = `${grid.images.length} of ${album.images.length} shown`;
  $("undo").disabled = !album.done.length;
  $("redo").disabled = !album.undone.length;
  drawLabels();
}

function drawFilters() {
  const { counts, unlabelled, flagged, doubtful } = album.counts();
  const options = [["all", "all images"], ["unlabelled", `unlabelled (${unlabelled})`],
    ["flagged", `flagged (${flagged})`], ["duplicates", "duplicates"],
    ...(album.doubts.size ? [["doubtful", `doubtful label (${doubtful})`]] : []),
    ...[...counts].map(([label, count]) => [`label:${label}`, `${label} (${count})`])];
  const chosen = $("filter").value || "all";
  $("filter").replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function drawLabels() {
  const { counts, unlabelled } = album.counts();
  $("progress").max = album.images.length || 1;
  $("progress").value = album.images.length - unlabelled;
  $("labelled").textContent = `${album.images.length - unlabelled} of ${album.images.length} labelled`;
  $("labels").replaceChildren(...album.labels.map((label, index) => {
    const button = document.createElement("button");
    button.type = "button";
    const parts = [["kbd", index < 9 ? String(index + 1) : ""], ["span", label], ["span", String(counts.get(label) ?? 0)]]
      .map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: text }));
    parts[1].className = "name";
    parts[2].className = "count";
    button.append(...(index < 9 ? parts : parts.slice(1)));
    button.addEventListener("click", () => {
      give(label);
      $("grid").focus();
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
}

// A lone image is followed by the next one, so that a row of images is labelled by one key each.
function change(action) {
  const images = grid.targets();
  if (!images.length) return;
  const [lone, here] = [!grid.selected.size, grid.current];
  action(images);
  if (lone && grid.current === here) grid.moveTo(grid.cursor + 1);
  if ($("view").open) drawLarge();
}

const give = (label) => change((images) => album.setLabel(images, label));

function ask(question, value, known, then) {
  $("question").textContent = question;
  $("typed").value = value;
  $("known").replaceChildren(...known.map((label) => new Option(label)));
  $("typing").returnValue = "";
  $("typing").showModal();
  $("typed").select();
  $("typing").onclose = () => {
    if ($("typing").returnValue === "yes") then($("typed").value.normalize("NFC").trim());
    $("grid").focus();
  };
}

function drawLarge() {
  const image = grid.current;
  if (!image) return;
  const address = picture(image);
  if ($("large").getAttribute("src") !== address) $("large").src = address;
  $("large").alt = image.name;
  const doubt = album.doubtOf(image);
  $("about").textContent = [image.name, album.labelOf(image) || "no label", doubt && `suggested: ${doubt.suggested}`,
    image.flag && "flagged as bad", image.note].filter(Boolean).join(" · ");
}

function toggleLarge() {
  if ($("view").open) {
    $("view").close();
  } else if (grid.current) {
    drawLarge();
    $("view").showModal();
  }
}

function step(direction) {
  const taken = direction === "undo" ? album.undo() : album.redo();
  say(taken ? `${direction}: ${taken.after.length} ${taken.after.length === 1 ? "image" : "images"}` : `nothing to ${direction}`);
  if ($("view").open) drawLarge();
}

const moves = {
  ArrowLeft: () => grid.cursor - 1,
  ArrowRight: () => grid.cursor + 1,
  ArrowUp: () => grid.cursor - grid.columns,
  ArrowDown: () => grid.cursor + grid.columns,
  PageUp: () => grid.cursor - grid.columns * grid.rowsInSight,
  PageDown: () => grid.cursor + grid.columns * grid.rowsInSight,
  Home: () => 0,
  End: () => grid.images.length - 1,
};

const keys = {
  " ": () => grid.toggle(),
  Enter: toggleLarge,
  Escape: () => ($("view").open ? $("view").close() : grid.selectAll(false)),
  0: () => give(""),
  f: () => change((images) => album.toggleFlag(images)),
  l: () => ask("Label", album.labelOf(grid.current ?? {}) ?? "", album.labels, (label) => label && give(label)),
  n: () => ask("Note", grid.current?.note ?? "", [], (note) => change((images) => album.setNote(images, note))),
  u: () => step("undo"),
  r: () => step("redo"),
  s: () => (grid.targets().some((image) => album.doubtOf(image))
    ? change((images) => album.accept(images)) : say("no label is suggested here")),
  "/": () => $("text").focus(),
  "?": () => $("keys").showModal(),
};

// By what a key types or, where that means nothing here, by its place: the row of digits types other signs on a French
// keyboard, and letters are those of another alphabet on a Cyrillic or Greek one. "/" is Shift+7 on a German one.
function meaning({ key, code, shiftKey }) {
  const typed = key.length === 1 ? key.toLowerCase() : key;
  if (typed in moves || typed in keys || /^[0-9a-z]$/.test(typed)) return typed;
  const [, digit] = /^(?:Digit|Numpad)([0-9])$/.exec(code) ?? [];
  const [, letter] = /^Key([A-Z])$/.exec(code) ?? [];
  if (digit && !shiftKey) return digit;
  return letter && !/^[ -~]$/.test(typed) ? letter.toLowerCase() : typed;
}

function pressed(event) {
  const field = event.target.closest("input, select");
  if (field) {
    if (event.key === "Escape" && field === $("text")) $("grid").focus();
    return;
  }
  if (event.altKey || $("typing").open || $("keys").open) return;
  const control = event.ctrlKey || event.metaKey;
  const key = meaning(event);
  let action;
  if (control) {
    action = { a: () => grid.selectAll(true), z: () => step(event.shiftKey ? "redo" : "undo"), y: keys.r }[key];
  } else if (key in moves) {
    action = () => {
      grid.moveTo(moves[key](), event.shiftKey);
      if ($("view").open) drawLarge();
    };
  } else if (/^[1-9]$/.test(key)) {
    action = () => (album.labels[key - 1] ? give(album.labels[key - 1]) : say(`there is no label ${key}`));
  } else if (!(event.target.closest("button") && (key === " " || key === "Enter"))) {
    action = keys[key];
  }
  if (action) {
    event.preventDefault();
    action();
  }
}

async function reload(text) {
  try {
    await album.load();
    say(text, true);
  } catch (error) {
    say(error.message, true);
  }
}

async function poll() {
  try {
    if (!document.hidden && !album.busy && (await getVersion()) !== album.version && !album.busy) {
      await reload("annotations.csv was changed elsewhere. The page shows it as it is now.");
    }
  } catch (error) {
    say(error.message, true);
  }
  setTimeout(poll, POLL_MS);
}

async function showDuplicates() {
  if ($("filter").value !== "duplicates" || album.twins) return;
  say("looking for duplicates …");
  try {
    if (await album.findDuplicates()) {
      say(album.twins.size === 1 ? "1 image has a duplicate" : `${album.twins.size} images have duplicates`);
    } else {
      setTimeout(showDuplicates, 500);
    }
  } catch (error) {
    say(error.message, true);
  }
}

album.addEventListener("change", refresh);
album.addEventListener("saved", ({ detail }) => say(`saved: ${detail} ${detail === 1 ? "image" : "images"}`));
album.addEventListener("refused", ({ detail }) => reload(detail.message));
grid.addEventListener("open", toggleLarge);
grid.addEventListener("accept", ({ detail }) => {
  album.accept([detail]);
  $("grid").focus();
});
document.addEventListener("keydown", pressed);
$("filter").addEventListener("change", () => {
  refresh();
  showDuplicates();
  $("grid").focus();
});
$("text").addEventListener("input", refresh);
$("undo").addEventListener("click", () => step("undo"));
$("redo").addEventListener("click", () => step("redo"));
$("help").addEventListener("click", () => $("keys").showModal());
$("cancel").addEventListener("click", () => $("typing").close("no"));
$("view").addEventListener("click", () => $("view").close());
$("view").addEventListener("close", () => $("grid").focus());

await reload("");
// Who had the labels checked comes for these, until each has another label or a flag.
if (album.counts().doubtful) {
  $("filter").value = "doubtful";
  refresh();
  say("Labels that the other photos contradict, the most doubtful first. S or a click on “→” takes the suggested one.");
}
if (album.unnamed === 1) say("1 image is not shown: its name is not UTF-8. Rename it.", true);
if (album.unnamed > 1) say(`${album.unnamed} images are not shown: their names are not UTF-8. Rename them.`, true);
$("grid").focus();
setTimeout(poll, POLL_MS);
