// A grid that has elements for the images in sight only, however many there are.

import { thumbnail } from "./server.js";

const WIDTH = 176;
const HEIGHT = 190;
const BEYOND = 2; // rows kept ready above and below

export class Grid extends EventTarget {
  images = [];
  cursor = 0;
  selected = new Set();
  #anchor = 0;
  #cells = new Map(); // image → element
  #waiting = false;

  constructor(frame, sizer, labelOf, doubtOf) {
    super();
    Object.assign(this, { frame, sizer, labelOf, doubtOf });
    frame.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(frame);
    sizer.addEventListener("click", (event) => this.#click(event));
    sizer.addEventListener("dblclick", (event) => {
      if (!event.target.closest(".suggested")) this.dispatchEvent(new Event("open"));
    });
  }

  get columns() {
    return Math.max(1, Math.floor(this.frame.clientWidth / WIDTH));
  }

  get rowsInSight() {
    return Math.max(1, Math.floor(this.frame.clientHeight / HEIGHT));
  }

  get current() {
    return this.images[this.cursor];
  }

  // What a key acts on.
  targets() {
    const chosen = this.images.filter((image) => this.selected.has(image));
    return chosen.length ? chosen : this.images.slice(this.cursor, this.cursor + 1);
  }

  show(images) {
    this.images = images;
    const still = new Set(images);
    this.selected = new Set([...this.selected].filter((image) => still.has(image)));
    this.cursor = Math.max(0, Math.min(this.cursor, images.length - 1));
    this.draw();
  }

  moveTo(index, extend = false) {
    this.cursor = Math.max(0, Math.min(index, this.images.length - 1));
    if (extend) {
      const [first, last] = [this.#anchor, this.cursor].sort((one, two) => one - two);
      this.selected = new Set(this.images.slice(first, last + 1));
    } else {
      this.#anchor = this.cursor;
    }
    this.#scrollToCursor();
    this.draw();
  }

  toggle() {
    const image = this.current;
    if (image && !this.selected.delete(image)) {
      this.selected.add(image);
    }
    this.#anchor = this.cursor;
    this.draw();
  }

  selectAll(all) {
    this.selected = new Set(all ? this.images : []);
    this.draw();
  }

  draw() {
    if (!this.#waiting) {
      this.#waiting = true;
      requestAnimationFrame(() => {
        this.#waiting = false;
        this.#draw();
      });
    }
  }

  #draw() {
    const columns = this.columns;
    this.sizer.style.height = `${Math.ceil(this.images.length / columns) * HEIGHT}px`;
    const top = Math.floor(this.frame.scrollTop / HEIGHT) - BEYOND;
    const bottom = top + Math.ceil(this.frame.clientHeight / HEIGHT) + 2 * BEYOND + 1;
    const first = Math.max(0, top * columns);
    const seen = this.images.slice(first, Math.max(0, bottom * columns));
    const cells = new Map();
    seen.forEach((image, offset) => {
      const cell = this.#cells.get(image) ?? this.#make(image);
      this.#fill(cell, image, first + offset, columns);
      cells.set(image, cell);
    });
    for (const [image, cell] of this.#cells) {
      if (!cells.has(image)) cell.remove();
    }
    for (const cell of cells.values()) {
      if (!cell.isConnected) this.sizer.append(cell);
    }
    this.#cells = cells;
    this.frame.setAttribute("aria-activedescendant", this.current ? `cell-${this.cursor}` : "");
    this.dispatchEvent(new Event("drawn"));
  }

  #make(image) {
    const cell = document.createElement("div");
    cell.className = "cell";
    cell.setAttribute("role", "option");
    const img = new Image();
    img.alt = "";
    img.decoding = "async";
    img.src = thumbnail(image);
    img.addEventListener("error", () => {
      const broken = document.createElement("div");
      broken.className = "broken";
      broken.textContent = "unreadable";
      img.replaceWith(broken);
    });
    const [caption, label, flag, name] = ["caption", "label", "flag", "name"].map((kind) => {
      const part = document.createElement("div");
      part.className = kind;
      return part;
    });
    const suggested = document.createElement("button");
    Object.assign(suggested, { type: "button", className: "suggested", tabIndex: -1, title: "Take this label (S)" });
    caption.append(label, flag);
    name.textContent = image.name;
    cell.append(img, caption, suggested, name);
    cell.title = image.name;
    return cell;
  }

  #fill(cell, image, index, columns) {
    const text = this.labelOf(image);
    const label = cell.querySelector(".label");
    label.textContent = text || "no label";
    label.className = `label${text ? "" : " none"}${image.label ? " changed" : ""}`;
    const doubt = this.doubtOf(image);
    const suggested = cell.querySelector(".suggested");
    suggested.hidden = !doubt;
    suggested.textContent = doubt ? `→ ${doubt.suggested}` : "";
    cell.querySelector(".flag").textContent = image.flag ? "bad" : "";
    cell.className = `cell${index === this.cursor ? " cursor" : ""}${image.flag ? " bad" : ""}`;
    cell.id = `cell-${index}`;
    cell.dataset.index = index;
    cell.setAttribute("aria-selected", this.selected.has(image));
    const more = `${image.flag ? ", flagged as bad" : ""}${doubt ? `, suggested: ${doubt.suggested}` : ""}`;
    cell.setAttribute("aria-label", `${image.name}, ${text || "no label"}${more}`);
    cell.setAttribute("aria-posinset", index + 1);
    cell.setAttribute("aria-setsize", this.images.length);
    const width = this.frame.clientWidth / columns;
    Object.assign(cell.style, {
      left: `${(index % columns) * width}px`,
      top: `${Math.floor(index / columns) * HEIGHT}px`,
      width: `${width - 8}px`,
      height: `${HEIGHT - 8}px`,
    });
  }

  #click(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const index = Number(cell.dataset.index);
    if (event.target.closest(".suggested")) {
      // The second click of a double one would meet the image that has moved up.
      if (event.detail < 2) this.dispatchEvent(new CustomEvent("accept", { detail: this.images[index] }));
      return;
    }
    this.moveTo(index, event.shiftKey);
    if (event.ctrlKey || event.metaKey) {
      this.toggle();
    } else if (!event.shiftKey) {
      this.selectAll(false);
    }
  }

  #scrollToCursor() {
    const top = Math.floor(this.cursor / this.columns) * HEIGHT;
    if (top < this.frame.scrollTop) {
      this.frame.scrollTop = top;
    } else if (top + HEIGHT > this.frame.scrollTop + this.frame.clientHeight) {
      this.frame.scrollTop = top + HEIGHT - this.frame.clientHeight;
    }
  }
}
