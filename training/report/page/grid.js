// The images that are shown, with elements for those in sight only, however many there are.

const CELL = { width: 168, height: data.answers.familiarity ? 216 : 196 };
const BEYOND = 1; // rows kept ready above and below

const grid = {
  images: [],
  cursor: 0,
  cells: new Map(), // image → element

  get columns() {
    return Math.max(1, Math.floor($("grid").clientWidth / CELL.width));
  },

  get current() {
    return this.images[this.cursor];
  },

  show(found) {
    this.images = found;
    this.cursor = 0;
    $("grid").scrollTop = 0;
    this.draw();
  },

  moveTo(index) {
    this.cursor = Math.max(0, Math.min(index, this.images.length - 1));
    const [top, frame] = [Math.floor(this.cursor / this.columns) * CELL.height, $("grid")];
    if (top < frame.scrollTop) frame.scrollTop = top;
    if (top + CELL.height > frame.scrollTop + frame.clientHeight) frame.scrollTop = top + CELL.height - frame.clientHeight;
    this.draw();
  },

  draw() {
    const [columns, frame] = [this.columns, $("grid")];
    $("sizer").style.height = `${Math.ceil(this.images.length / columns) * CELL.height}px`;
    const top = Math.floor(frame.scrollTop / CELL.height) - BEYOND;
    const bottom = top + Math.ceil(frame.clientHeight / CELL.height) + 2 * BEYOND + 1;
    const first = Math.max(0, top * columns);
    const cells = new Map();
    this.images.slice(first, Math.max(0, bottom * columns)).forEach((image, offset) => {
      const cell = this.cells.get(image) ?? makeCell(image);
      this.place(cell, first + offset, columns);
      cells.set(image, cell);
    });
    $("sizer").replaceChildren(...cells.values());
    this.cells = cells;
    frame.setAttribute("aria-activedescendant", this.current ? `cell-${this.cursor}` : "");
  },

  place(cell, index, columns) {
    const width = $("sizer").clientWidth / columns;
    cell.id = `cell-${index}`;
    cell.dataset.place = index;
    cell.setAttribute("aria-selected", index === this.cursor);
    cell.setAttribute("aria-posinset", index + 1);
    cell.setAttribute("aria-setsize", this.images.length);
    Object.assign(cell.style, {
      left: `${(index % columns) * width}px`,
      top: `${Math.floor(index / columns) * CELL.height}px`,
      width: `${width - 8}px`,
      height: `${CELL.height - 8}px`,
    });
  },

  start() {
    $("grid").addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe($("grid"));
    $("sizer").addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (!cell) return;
      this.moveTo(Number(cell.dataset.place));
      viewer.open();
    });
    $("grid").addEventListener("keydown", (event) => this.key(event));
  },

  key(event) {
    const [columns, rows] = [this.columns, Math.max(1, Math.floor($("grid").clientHeight / CELL.height))];
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns * rows,
      PageDown: columns * rows, Home: -Infinity, End: Infinity,
    };
    if (event.key in steps) this.moveTo(this.cursor + steps[event.key]);
    else if (event.key === "Enter" && this.current) viewer.open();
    else return;
    event.preventDefault();
  },
};

function makeCell(image) {
  const given = abstains(image) ? `abstained (${labelName(image.predicted)})` : labelName(image.predicted);
  const answer = isRight(image) ? given : `${given}, not ${labels[image.truth]}`;
  const cell = element("div", { className: "cell", title: image.name }, heat.over(picture(image), image),
    element("p", { className: isRight(image) ? "right" : "wrong", textContent: `${isRight(image) ? "✓" : "✗"} ${answer}` }),
    element("p", { textContent: image.predicted < 0 ? "–" : number(image.score, 3) }),
    ...(image.familiarity === undefined ? [] : [element("p", { textContent: familiarityOf(image) })]),
    element("p", { className: "name", textContent: image.name }));
  cell.setAttribute("role", "option");
  cell.setAttribute("aria-label", `${image.name}: ${answer}, score ${number(image.score, 3)}${image.familiarity === undefined ? "" : `, ${familiarityOf(image)}`}`);
  return cell;
}
