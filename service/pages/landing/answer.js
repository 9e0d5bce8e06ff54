// Draws one image's answer. Labels are whatever the training folders were called, so they are set as text only.

const $ = (id) => document.getElementById(id);
const SHOWN = 10;

function element(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

const percent = (score) => `${(100 * score).toFixed(1)} %`;

function ranked(scores, labels, softmax) {
  const lowest = softmax ? 0 : Math.min(...scores);
  const range = softmax ? 1 : Math.max(...scores) - lowest || 1;
  return scores
    .map((score, index) => ({
      index, label: labels[index], text: softmax ? percent(score) : score.toFixed(3), share: (score - lowest) / range,
    }))
    .sort((one, two) => two.share - one.share);
}

function row({ index, label, text, share }, pick) {
  const item = document.createElement("li");
  const bar = element("span", "bar");
  bar.style.width = `${100 * share}%`;
  item.append(bar, pick ? picking(index, label, pick) : element("span", "label", label), element("span", "score", text));
  return item;
}

function picking(index, label, pick) {
  const button = Object.assign(element("button", "label", label), { type: "button", title: `Where it looked for ${label}` });
  button.dataset.index = index;
  button.addEventListener("click", () => pick(index));
  return button;
}

// Marks the label whose heat is shown; null for none.
export function markPicked(index) {
  for (const button of document.querySelectorAll("#bars button")) {
    button.setAttribute("aria-pressed", String(button.dataset.index === String(index)));
  }
}

export function clearAnswer(text) {
  $("status").textContent = text;
  $("problem").textContent = "";
  $("foreign").textContent = "";
  $("bars").replaceChildren();
  $("more").hidden = true;
  $("code").hidden = true;
}

export function drawProblem(text) {
  clearAnswer("");
  $("problem").textContent = text;
}

function strangeness({ foreign, familiarity }, least) {
  return foreign ? `Unlike the training photos: its familiarity is ${familiarity.toFixed(3)}, theirs ${least.toFixed(3)} or more.` : "";
}

// With `pick`, each label is a button that gives it its index.
export function drawAnswer(answer, model, softmax, curl, pick) {
  const [item] = answer;
  const rows = ranked(item.scores, model.labels, softmax);
  const best = element("strong", "", item.label ?? "no label");
  const score = `${rows[0].label} ${rows[0].text}`;
  const rejected = item.foreign && item.reason;  // why is said below
  const why = rejected ? `: the best was ${score}` : `: the best score, ${score}, is under its threshold`;
  const about = item.abstained ? why : ` ${rows[0].text}`;
  clearAnswer("");
  $("status").append(best, about);
  $("foreign").textContent = strangeness(item, model.familiarity?.threshold);
  $("bars").append(...rows.slice(0, SHOWN).map((one) => row(one, pick)));
  $("more").hidden = rows.length <= SHOWN;
  $("more").textContent = `Show all ${rows.length} labels`;
  $("more").onclick = () => {
    $("bars").append(...rows.slice(SHOWN).map((one) => row(one, pick)));
    $("more").hidden = true;
  };
  $("curl").textContent = curl;
  $("json").textContent = JSON.stringify(answer, null, 2);
  $("code").hidden = false;
}
