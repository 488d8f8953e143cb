// The fields of a form for the inputs of a signature.

import { parseTable, pixelsOf, samplesOf, toBase64, windowOfTable } from "./formats.js";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const shapeOf = (info) => info.tensor_shape.dim.map((axis) => Number(axis.size));
const words = (name) => name.replaceAll("_", " ");

// What an input takes: text, file, image, sound, table, number, check or json.
function kindOf(info, isFile) {
  const shape = shapeOf(info), dtype = info.dtype;
  if (dtype === "DT_STRING") return isFile ? "file" : shape.length <= 1 ? "text" : "json";
  if (dtype === "DT_UINT8" && shape.length === 4 && shape[2] > 0) return "image";
  if (dtype === "DT_FLOAT" && shape.length === 2 && shape[1] < 0) return "sound";
  if (["DT_FLOAT", "DT_DOUBLE"].includes(dtype) && shape.length === 3 && shape[1] > 0 && shape[2] > 0) return "table";
  if (dtype === "DT_BOOL" && shape.length <= 1) return "check";
  if (shape.length <= 1) return "number";
  return "json";
}

// The fields of a signature. Each has `name`, `node`, `isOption`, and `values()`, a promise of the value of one example
// or of several ({rows: [...]}), undefined for an option that is left as it is.
export function makeFields(definition, plainDefinition, onChange) {
  const defaults = definition.defaults || {};
  return Object.entries(definition.inputs).sort(([a], [b]) => a.localeCompare(b)).map(([name, info]) => {
    const other = plainDefinition && plainDefinition.inputs[name];
    const isFile = Boolean(other) && other.dtype !== "DT_STRING" && info.dtype === "DT_STRING";
    const isOption = name in defaults || shapeOf(info).length === 0;
    const kind = kindOf(info, isFile);
    const preset = Object.entries(defaults[name] || {}).find(([key]) => key.endsWith("_val"))?.[1][0];
    const field = kinds[kind](name, info, { plain: other, isOption, preset, onChange });
    return { name, isOption, kind, ...field };
  });
}

let count = 0;

function labelled(name, control, hint) {
  control.id = `field-${++count}`;
  const node = element("div", { class: "field" }, element("label", { for: control.id, text: words(name) }), control);
  if (hint) {
    const note = element("p", { class: "quiet", text: hint, id: `${control.id}-hint` });
    control.setAttribute("aria-describedby", note.id);
    node.append(note);
  }
  return node;
}

// A file that is chosen or dropped; `onFile` shows it in the element that it gets.
function dropZone(name, accept, hint, onFile, onChange) {
  const id = `field-${++count}`;
  const shown = element("div");
  const input = element("input", { type: "file", accept, id, "aria-describedby": `${id}-hint` });
  const zone = element("div", { class: "drop" }, input, element("p", { class: "quiet", id: `${id}-hint`, text: hint }), shown);
  const node = element("div", { class: "field" }, element("label", { for: id, text: words(name) }), zone);
  const state = { file: null };
  const take = async (file) => {
    if (!file) return;
    state.file = file;
    shown.replaceChildren(element("p", { class: "quiet", text: `${file.name} (${file.size.toLocaleString("en")} bytes)` }));
    try { await onFile(file, shown); } catch (error) { shown.append(element("p", { text: error.message })); }
    onChange();
  };
  input.addEventListener("change", () => take(input.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  const chosen = () => {
    if (!state.file) throw new Error(`Choose a file for ${words(name)}.`);
    return state.file;
  };
  return { node, chosen };
}

function showMedia(file, shown) {
  const url = URL.createObjectURL(file);
  if (file.type.startsWith("image/")) shown.append(element("img", { src: url, alt: file.name }));
  if (file.type.startsWith("audio/")) shown.append(element("audio", { src: url, controls: true }));
}

const kinds = {
  text(name, info, { isOption, onChange }) {
    if (isOption) {
      const input = element("input", { type: "text" });
      input.addEventListener("input", onChange);
      return { node: labelled(name, input), values: async () => input.value || undefined };
    }
    const area = element("textarea", { rows: 4, spellcheck: "false", autocapitalize: "none" });
    const lines = element("input", { type: "checkbox" });
    const file = element("input", { type: "file", accept: ".txt,.csv,.tsv", hidden: true });
    const node = labelled(name, area);
    for (const each of [area, lines]) each.addEventListener("input", onChange);
    const fill = async (dropped) => {
      const text = await dropped.text();
      const rows = /\.(csv|tsv)$/.test(dropped.name) ? columnOf(parseTable(text), name) : text.trimEnd().split(/\r?\n/);
      area.value = rows.map((row) => row.replaceAll("\n", " ")).join("\n");
      lines.checked = true;
      onChange();
    };
    area.addEventListener("dragover", (event) => event.preventDefault());
    area.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      fill(event.dataTransfer.files[0]);
    });
    const open = element("button", { type: "button", text: "Open a file" });
    open.addEventListener("click", () => file.click());
    file.addEventListener("change", () => file.files[0] && fill(file.files[0]));
    const check = element("label", { class: "check" }, lines, "Each line is an example");
    node.append(element("div", { class: "tools" }, check, open, file));
    return {
      node,
      values: async () => lines.checked ? { rows: area.value.split("\n") } : area.value,
    };
  },

  file(name, info, { plain, onChange }) {
    const isSound = plain.dtype === "DT_FLOAT";
    const hint = isSound ? "A WAV file of 16 bits: choose it or drop it here." : "A PNG, JPEG, GIF or BMP file: choose it or drop it here.";
    const { node, chosen } = dropZone(name, isSound ? "audio/wav,.wav" : "image/*", hint, showMedia, onChange);
    return {
      node,
      values: async () => ({ b64: toBase64(await chosen().arrayBuffer()) }),
      shown: () => ({ file: chosen().name }),
    };
  },

  image(name, info, { onChange }) {
    const [, rows, width, channels] = shapeOf(info);
    const isPart = rows < 0; // the first rows of an image, which the model completes
    const height = isPart ? width : rows;
    const hint = isPart ? `An image; its upper part is the beginning, ${width} pixels wide. Without one the model begins with nothing.`
      : `An image, which is scaled to ${width} x ${height} pixels: choose it or drop it here.`;
    const { node, chosen } = dropZone(name, "image/*", hint, showMedia, onChange);
    const part = element("input", { type: "number", min: 0, max: height, value: Math.floor(height / 2), step: 1 });
    if (isPart) node.append(labelled("rows of it", part));
    part.addEventListener("input", onChange);
    return {
      node,
      values: async () => {
        if (!isPart) return pixelsOf(chosen(), height, width, channels);
        let file;
        try { file = chosen(); } catch { return []; }
        return (await pixelsOf(file, height, width, channels)).slice(0, Number(part.value));
      },
    };
  },

  sound(name, info, { onChange }) {
    const { node, chosen } = dropZone(name, "audio/*", "A sound file: choose it or drop it here.", showMedia, onChange);
    return { node, values: async () => samplesOf(chosen()) };
  },

  table(name, info, { onChange }) {
    const [, length, width] = shapeOf(info);
    const hint = `The last ${length} rows of a table are read, ${width === 1 ? "one number" : `${width} numbers`} at the end of each.`;
    const area = element("textarea", { rows: 6, spellcheck: "false" });
    const drop = dropZone(`${name} from a file`, ".csv,.tsv,.txt", "A CSV file: choose it or drop it here.", async (file, shown) => {
      area.value = await file.text();
      windowOfTable(parseTable(area.value), length, width);
    }, onChange);
    const node = element("div", {}, labelled(name, area, hint), drop.node);
    area.addEventListener("input", onChange);
    return { node, values: async () => windowOfTable(parseTable(area.value), length, width) };
  },

  number(name, info, { preset, onChange }) {
    const step = /FLOAT|DOUBLE|HALF/.test(info.dtype) ? "any" : 1;
    const input = element("input", { type: "number", step, placeholder: preset });
    input.addEventListener("input", onChange);
    return {
      node: labelled(name, input, preset === undefined ? undefined : `Empty: ${preset}, as the model has it.`),
      values: async () => {
        if (input.value === "" && preset !== undefined) return undefined;
        if (input.value === "") throw new Error(`Give a number for ${words(name)}.`);
        return Number(input.value);
      },
    };
  },

  check(name, info, { onChange }) {
    const input = element("input", { type: "checkbox" });
    input.addEventListener("input", onChange);
    const node = element("label", { class: "check field" }, input, words(name));
    return { node, values: async () => input.checked };
  },

  json(name, info, { isOption, onChange }) {
    const shape = shapeOf(info).map((size) => size < 0 ? "any" : size).slice(1);
    const area = element("textarea", { rows: 4, spellcheck: "false" });
    area.addEventListener("input", onChange);
    return {
      node: labelled(name, area, `One example as JSON, of the shape [${shape.join(", ")}].`),
      values: async () => {
        if (!area.value.trim() && isOption) return undefined;
        try { return JSON.parse(area.value); } catch (error) { throw new Error(`${words(name)}: ${error.message}`); }
      },
    };
  },
};

// The column of a table that has the name of the input in the first row, or else the first column of all rows.
function columnOf(rows, name) {
  const index = rows[0].findIndex((cell) => cell.trim().toLowerCase() === name.toLowerCase());
  return index < 0 ? rows.map((row) => row[0]) : rows.slice(1).map((row) => row[index] || "");
}
