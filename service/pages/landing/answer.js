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
      label: labels[index], text: softmax ? percent(score) : score.toFixed(3), share: (score - lowest) / range,
    }))
    .sort((one, two) => two.share - one.share);
}

function row({ label, text, share }) {
  const item = document.createElement("li");
  const bar = element("span", "bar");
  bar.style.width = `${100 * share}%`;
  item.append(bar, element("span", "label", label), element("span", "score", text));
  return item;
}

export function clearAnswer(text) {
  $("status").textContent = text;
  $("problem").textContent = "";
  $("bars").replaceChildren();
  $("more").hidden = true;
  $("code").hidden = true;
}

export function drawProblem(text) {
  clearAnswer("");
  $("problem").textContent = text;
}

export function drawAnswer(answer, labels, softmax, curl) {
  const [item] = answer;
  const rows = ranked(item.scores, labels, softmax);
  const best = element("strong", "", item.label ?? "no label");
  const about = item.abstained ? `: the best score, ${rows[0].label} ${rows[0].text}, is under its threshold` : ` ${rows[0].text}`;
  clearAnswer("");
  $("status").append(best, about);
  $("bars").append(...rows.slice(0, SHOWN).map(row));
  $("more").hidden = rows.length <= SHOWN;
  $("more").textContent = `Show all ${rows.length} labels`;
  $("more").onclick = () => {
    $("bars").append(...rows.slice(SHOWN).map(row));
    $("more").hidden = true;
  };
  $("curl").textContent = curl;
  $("json").textContent = JSON.stringify(answer, null, 2);
  $("code").hidden = false;
}
