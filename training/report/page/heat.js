// Where the model looked: maps of signed cells over the pictures, all on one scale, with what it did not see hatched.

const HEAT_FOR = "213 94 0"; // Okabe and Ito's vermilion, for the label
const HEAT_AGAINST = "0 114 178"; // and blue, against it
const STRONGEST = 0.85; // opacity of the largest value
const STRIPES = 7; // pixels from one to the next

const heat = {
  name: { heat: "Heat", occlusion: "Occlusion" }[data.heat.kind],

  // What there is of an image: {box, labels, first}, or nothing.
  of(image) {
    return data.heat.images[pictureOf.get(image.index)] ?? null;
  },

  get cells() {
    this.decoded ??= Int8Array.from(atob(data.heat.cells), (letter) => letter.charCodeAt(0));
    return this.decoded;
  },

  // The picture with one of its maps over it, which CSS shows when it is pointed at or reached by keys.
  over(drawn, image, map = 0) {
    const found = this.of(image);
    const made = element("div", { className: "pictured" }, drawn);
    if (!found || map < 0 || drawn.tagName !== "IMG") return made;
    const canvas = element("canvas", { className: "heat" });
    canvas.setAttribute("aria-hidden", "true");
    made.append(canvas);
    drawn.addEventListener("load", () => {
      canvas.width = 2 * drawn.naturalWidth;
      canvas.height = 2 * drawn.naturalHeight;
      this.draw(canvas, found, map);
    });
    return made;
  },

  draw(canvas, { box: [left, top, right, bottom], first }, map) {
    const { rows, columns } = data.heat;
    const context = canvas.getContext("2d");
    const [x, y] = [(column) => Math.round((left + ((right - left) * column) / columns) * canvas.width),
      (row) => Math.round((top + ((bottom - top) * row) / rows) * canvas.height)];
    const start = (first + map) * rows * columns;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        context.fillStyle = colourOf(this.cells[start + row * columns + column] / 127);
        context.fillRect(x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row));
      }
    }
    this.hatch(context, canvas, [x(0), y(0), x(columns), y(rows)]);
  },

  // All but the box, which can reach beyond the picture.
  hatch(context, { width, height }, [left, top, right, bottom]) {
    context.beginPath();
    context.rect(0, 0, width, height);
    context.rect(left, top, right - left, bottom - top);
    context.clip("evenodd");
    context.fillStyle = "rgb(0 0 0 / .5)";
    context.fillRect(0, 0, width, height);
    context.strokeStyle = "rgb(255 255 255 / .5)";
    context.lineWidth = 2;
    context.beginPath();
    for (let at = -height; at < width; at += 2 * STRIPES) {
      context.moveTo(at, height);
      context.lineTo(at + height, 0);
    }
    context.stroke();
  },

  // The legend below the grid.
  start() {
    const { kind, reason, scale, images: known } = data.heat;
    if (!kind) {
      $("heat").textContent = images.length ? `No heat: ${reason}` : "";
      return;
    }
    const most = `${number(scale, 2)}`;
    const bar = element("span", { className: "bar" });
    const steps = Array.from({ length: 41 }, (_, step) => colourOf(step / 20 - 1));
    bar.style.background = `linear-gradient(to right, ${steps.join(", ")}), #fff`;
    const count = known.filter(Boolean).length;
    const meaning = kind === "heat"
      ? "what each cell gives to the logit of the predicted label: the mean of the cells, plus the label's bias, is the logit"
      : "how far the logit of the predicted label falls when a grey patch covers that part of the input";
    $("heat").append(
      element("p", { textContent: `Pointing at a picture, or moving to it by keys, shows its ${kind}: ${meaning}. `
        + `${plural(count, "image")} ${count === 1 ? "has" : "have"} it. One scale for all labels and images:` }),
      element("p", { className: "legend" },
        `−${most} against the label`, bar, `+${most} for it; clear is zero`,
        element("span", { className: "unseen" }), "cut off, not seen by the net"));
  },
};

function colourOf(share) {
  // The root, because most cells lie far below the largest of all images; the legend's bar is drawn by it, too.
  return `rgb(${share < 0 ? HEAT_AGAINST : HEAT_FOR} / ${(Math.sqrt(Math.abs(share)) * STRONGEST).toFixed(3)})`;
}

function familiarityOf(image, long = false) {
  const value = image.familiarity === null ? "no number" : number(image.familiarity, 3);
  const said = image.foreign === undefined ? "" : image.foreign ? "foreign" : long ? "not foreign" : "";
  return `${long ? "" : "familiarity "}${value}${said && `, ${said}`}`;
}
