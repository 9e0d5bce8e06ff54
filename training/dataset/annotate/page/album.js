// The images and what is said about them: changes, undo and redo, filters. Every change is saved at once, in order.

import { getDuplicates, getPage, save } from "./server.js";

const row = ({ name, label, flag, note }) => ({ name, label, flag, note });

export class Album extends EventTarget {
  images = [];
  labels = [];
  version = "";
  done = [];
  undone = [];
  twins = null; // name → number of its group of duplicates
  doubts = new Map(); // name → what the other photos say of its label, the most doubtful first
  #byName = new Map();
  #saving = Promise.resolve();
  #pending = 0;

  async load() {
    const page = await getPage();
    Object.assign(this, { root: page.root, version: page.version, labels: page.labels, images: page.images });
    this.unnamed = page.unnamed;
    this.doubts = new Map(page.doubts.map((doubt, place) => [doubt.name, { ...doubt, place }]));
    this.#byName = new Map(this.images.map((image) => [image.name, image]));
    this.done = [];
    this.undone = [];
    this.#changed();
  }

  get busy() {
    return this.#pending > 0;
  }

  labelOf(image) {
    return image.label || image.folder;
  }

  // What contradicts the label that the image has now; nothing once it has another label, or is flagged.
  doubtOf(image) {
    const doubt = this.doubts.get(image.name);
    return doubt && !image.flag && doubt.label === this.labelOf(image).normalize("NFC") ? doubt : undefined;
  }

  setLabel(images, label) {
    this.#setLabels(images, () => label);
  }

  // Gives each image that has a doubtful label the suggested one.
  accept(images) {
    const doubtful = images.filter((image) => this.doubtOf(image));
    this.#setLabels(doubtful, (image) => this.doubtOf(image).suggested);
  }

  toggleFlag(images) {
    const flag = images.every((image) => image.flag) ? "" : "bad";
    this.#record(images.map((image) => ({ ...row(image), flag })));
  }

  setNote(images, note) {
    this.#record(images.map((image) => ({ ...row(image), note })));
  }

  undo() {
    const step = this.done.pop();
    if (step) {
      this.undone.push(step);
      this.#apply(step.before);
    }
    return step;
  }

  redo() {
    const step = this.undone.pop();
    if (step) {
      this.done.push(step);
      this.#apply(step.after);
    }
    return step;
  }

  // The images that `filter` ("all", "unlabelled", "flagged", "duplicates", "doubtful", "label:NAME") and `text` let through.
  matching(filter, text) {
    const wanted = text.normalize("NFC").toLowerCase();
    const found = this.images.filter((image) => this.#passes(image, filter)
      && (!wanted || `${image.name}\n${image.note}`.normalize("NFC").toLowerCase().includes(wanted)));
    if (filter === "duplicates" && this.twins) {
      found.sort((one, two) => this.twins.get(one.name) - this.twins.get(two.name));
    }
    if (filter === "doubtful") {
      found.sort((one, two) => this.doubts.get(one.name).place - this.doubts.get(two.name).place);
    }
    return found;
  }

  counts() {
    const counts = new Map(this.labels.map((label) => [label, 0]));
    let unlabelled = 0;
    let flagged = 0;
    let doubtful = 0;
    for (const image of this.images) {
      const label = this.labelOf(image);
      flagged += image.flag ? 1 : 0;
      doubtful += this.doubtOf(image) ? 1 : 0;
      if (label) {
        counts.set(label, (counts.get(label) ?? 0) + 1);
      } else {
        unlabelled += 1;
      }
    }
    return { counts, unlabelled, flagged, doubtful };
  }

  // True once the server has looked at every image.
  async findDuplicates() {
    const found = await getDuplicates();
    if (found.done) {
      this.twins = new Map(found.groups.flatMap((names, group) => names.map((name) => [name, group])));
      this.#changed();
    }
    return found.done;
  }

  #passes(image, filter) {
    if (filter === "unlabelled") return !this.labelOf(image);
    if (filter === "flagged") return Boolean(image.flag);
    if (filter === "doubtful") return Boolean(this.doubtOf(image));
    if (filter === "duplicates") return Boolean(this.twins?.has(image.name));
    if (filter.startsWith("label:")) return this.labelOf(image) === filter.slice(6);
    return true;
  }

  #setLabels(images, labelFor) {
    const rows = images.map((image) => {
      const label = labelFor(image);
      if (label && !this.labels.includes(label)) {
        this.labels.push(label);
      }
      return { ...row(image), label: label === image.folder ? "" : label };
    });
    this.#record(rows);
  }

  #record(after) {
    const before = after.map(({ name }) => row(this.#byName.get(name)));
    this.done.push({ before, after });
    this.undone = [];
    this.#apply(after);
  }

  #apply(rows) {
    for (const changed of rows) {
      Object.assign(this.#byName.get(changed.name) ?? {}, changed);
    }
    this.#changed();
    this.#pending += 1;
    this.#saving = this.#saving.then(() => this.#save(rows));
  }

  async #save(rows) {
    try {
      this.version = await save(this.version, rows);
      this.dispatchEvent(new CustomEvent("saved", { detail: rows.length }));
    } catch (error) {
      this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    } finally {
      this.#pending -= 1;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
