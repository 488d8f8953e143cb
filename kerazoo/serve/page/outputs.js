// Outputs of a model as elements: texts, scores, classes, images, sounds, series, alignments.

import { changedWords, number, wavOf } from "./formats.js";
import { element } from "./inputs.js";

const words = (name) => name.replaceAll("_", " ");
const MAIN = ["answer", "text", "answers", "texts", "label", "value", "similarity"];
const FIRST = [...MAIN, "sound", "image", "forecast", "reconstruction"];
const rank = (value) => Array.isArray(value) ? 1 + (value.length ? rank(value[0]) : 0) : 0;
const isColours = (value) => [1, 3].includes(value?.[0]?.[0]?.length) && value.length > 3 && value[0].length > 3;

// An element for one example. `outputs` are its values by name, `infos` those of the signature, `scalars` the outputs
// that all examples share, `before` the outputs of the request before, whose differences are marked, `source` is shown above
// it, and `text` is the text of the source.
export function prediction(outputs, infos, scalars, before, source, text) {
  const node = element("div", { class: "prediction" });
  if (source) node.append(element("p", { class: "source", text: source }));
  const list = element("dl");
  const names = Object.keys(outputs).sort((a, b) => (FIRST.includes(b) - FIRST.includes(a)) || a.localeCompare(b));
  const done = new Set();
  for (const name of names) {
    if (done.has(name)) continue;
    const parts = rows(name, outputs, infos, scalars, before, done, text);
    if (parts) list.append(element("dt", { text: words(name) }), element("dd", { class: parts.main ? "main" : undefined }, ...parts.nodes));
  }
  node.append(list);
  return node;
}

function rows(name, outputs, infos, scalars, before, done, text) {
  const value = outputs[name], dtype = infos[name]?.dtype;
  const show = (...nodes) => ({ nodes });
  if (name === "classes" && rank(outputs.probabilities) === 1) return null; // named with their probabilities
  if (dtype === "DT_STRING" && rank(value) === 1) {
    const scores = ["scores", "score"].find((each) => Array.isArray(outputs[each]) && outputs[each].length === value.length);
    if (scores) done.add(scores);
    const exist = value.map((text, i) => i).filter((i) => !scores || outputs[scores][i] > -1e30); // fewer were found
    const pick = (values) => values && exist.map((i) => values[i]);
    return show(best(pick(value), pick(scores && outputs[scores]), pick(before?.[name])));
  }
  if (dtype === "DT_STRING" && rank(value) === 0) return { nodes: changed(value, before?.[name]), main: MAIN.includes(name) };
  if (name === "probabilities" && rank(value) === 1) return show(probabilities(value, outputs.classes));
  if (/sound|audio/.test(name) && rank(value) === 1 && scalars.sample_rate) {
    done.add("length");
    return show(...sound(value.slice(0, outputs.length ?? value.length), scalars.sample_rate));
  }
  if (["tokens", "token_scores"].includes(name)) {
    return show(element("details", {}, element("summary", { text: shapeOf(value).join(" x ") }), element("p", { class: "quiet", text: JSON.stringify(value) })));
  }
  if (/alignment|attention/.test(name) && rank(value) === 2) {
    done.add("tokens");
    return show(alignment(value, outputs, text));
  }
  if (rank(value) === 3 && isColours(value)) return show(picture(value, dtype));
  if (name === "quantiles" && rank(outputs.forecast) === 2) return null; // plotted with the forecast
  if (rank(value) === 2 && value.length > 1 && value[0].length <= 16) return show(lines(value, outputs.quantiles));
  if (rank(value) === 2) return show(element("details", {}, element("summary", { text: shapeOf(value).join(" x ") }), heat(value)));
  if (rank(value) === 1) return show(vector(value));
  if (rank(value) > 0) return show(element("p", { class: "quiet", text: `an array of ${shapeOf(value).join(" x ")}` }));
  const words = typeof value === "number" || value === null ? number(value) : String(value);
  return { nodes: changed(words, before && before[name] !== undefined ? number(before[name]) : undefined), main: MAIN.includes(name) };
}

const shapeOf = (value) => Array.isArray(value) ? [value.length, ...(value.length ? shapeOf(value[0]) : [])] : [];

// A text in which the words are marked that the one before lacks.
function changed(text, before) {
  if (before === undefined || before === text) return [text || "(nothing)"];
  return changedWords(String(before), text).map(([word, isNew]) => isNew ? element("mark", { text: word }) : word);
}

// Several answers with bars; `scores` are sums of logarithms or probabilities.
function best(texts, scores, before) {
  const shares = scores && scores.every((score) => score <= 0) ? scores.map(Math.exp) : scores;
  const largest = shares ? Math.max(...shares, 1e-9) : 1;
  return element("ol", { class: "best" }, ...texts.map((text, i) => {
    const item = element("li", {}, element("span", {}, ...changed(text, before?.[i])));
    if (scores) {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${100 * Math.max(0, shares[i] / largest)}%`;
      item.prepend(bar);
      item.append(element("span", { class: "number", text: number(scores[i]) }));
    }
    return item;
  }));
}

function probabilities(values, classes) {
  const order = values.map((value, i) => [value, i]).sort((a, b) => b[0] - a[0]).slice(0, 5);
  return best(order.map(([, index]) => classes?.[index] ?? `class ${index}`), order.map(([value]) => value));
}

function sound(samples, rate) {
  const audio = element("audio", { controls: true, src: URL.createObjectURL(wavOf(samples, rate)) });
  const canvas = element("canvas", { width: 600, height: 80, role: "img", "aria-label": "loudness over time" });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).color;
  const largest = Math.max(...samples.map(Math.abs), 1e-9);
  for (let x = 0; x < canvas.width; x++) {
    const part = samples.slice(Math.floor(x * samples.length / canvas.width), Math.ceil((x + 1) * samples.length / canvas.width));
    const height = canvas.height * Math.max(0, ...part.map(Math.abs)) / largest;
    context.fillRect(x, (canvas.height - height) / 2, 1, Math.max(1, height));
  }
  return [audio, canvas, element("span", { class: "quiet", text: `${(samples.length / rate).toFixed(2)} s` })];
}

function picture(image, dtype) {
  const height = image.length, width = image[0].length;
  const canvas = element("canvas", { width, height, role: "img", "aria-label": `an image of ${width} x ${height} pixels` });
  const scale = Math.max(1, Math.min(12, Math.floor(240 / Math.max(height, width))));
  canvas.style.width = `${width * scale}px`;
  const context = canvas.getContext("2d"), data = context.createImageData(width, height);
  const factor = dtype === "DT_UINT8" ? 1 : 255;
  image.flat().forEach((pixel, i) => {
    const [r, g = r, b = r] = pixel.map((value) => value * factor);
    data.data.set([r, g, b, 255], 4 * i);
  });
  context.putImageData(data, 0, 0);
  return canvas;
}

// Which parts of the source each token attends to. The columns are named by the characters or words of the source text if
// it has as many, or one less, for the end.
function alignment(weights, outputs, text) {
  const characters = [...(text || "")], split = (text || "").split(/\s+/).filter(Boolean);
  const candidates = [outputs.source_tokens, characters, [...characters, "end"], split, [...split, "end"]];
  const labels = (lists, size) => lists.find((each) => Array.isArray(each) && each.length === size) || Array.from({ length: size }, (_, i) => i + 1);
  const columns = labels(candidates, weights[0].length), tokens = labels([outputs.tokens], weights.length).map((token) => token === "" ? "end" : token);
  const head = element("tr", {}, element("th"), ...columns.map((text) => element("th", { scope: "col", text })));
  const body = weights.map((row, i) => element("tr", {}, element("th", { scope: "row", text: tokens[i] }), ...row.map((weight) => {
    const cell = element("td", { title: number(weight) });
    cell.style.setProperty("--weight", String(Math.max(0, Math.min(1, weight))));
    return cell;
  })));
  const hint = element("p", { class: "quiet", text: "Rows: the text that is written; columns: the source." });
  return element("div", { class: "scroll" }, element("table", { class: "alignment" }, head, ...body), hint);
}

function heat(values) {
  const largest = Math.max(...values.flat().map(Math.abs), 1e-9);
  const canvas = element("canvas", { width: values[0].length, height: values.length, role: "img", "aria-label": "values as brightness" });
  canvas.style.width = `${Math.min(480, 4 * values[0].length)}px`;
  const context = canvas.getContext("2d"), data = context.createImageData(canvas.width, canvas.height);
  values.flat().forEach((value, i) => data.data.set([31, 95, 168, 255 * Math.abs(value) / largest], 4 * i));
  context.putImageData(data, 0, 0);
  return canvas;
}

// A line for each column, with the band between the outer quantiles [H, V, Q] of the first one.
function lines(values, quantiles) {
  const width = Math.min(480, document.getElementById("outputs").clientWidth || 480), height = 180, left = 60, bottom = 24;
  const count = Math.min(values[0].length, 8);
  const band = quantiles && quantiles.map((row) => [row[0][0], row[0].at(-1)]);
  const all = [...values.flatMap((row) => row.slice(0, count)), ...(band ? band.flat() : [])].filter((value) => value !== null);
  const low = Math.min(...all), high = Math.max(...all), range = high - low || 1;
  const x = (i) => left + (width - left - 6) * i / Math.max(1, values.length - 1);
  const y = (value) => 8 + (height - bottom - 16) * (1 - (value - low) / range);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${values.length} rows from ${number(low)} to ${number(high)}`);
  const add = (tag, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  };
  add("path", { class: "axis", d: `M${left} 8V${height - bottom}H${width - 6}` });
  for (const value of [low, high]) add("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value));
  add("text", { x: left, y: height - 6 }, "row 1");
  add("text", { x: width - 6, y: height - 6, "text-anchor": "end" }, `row ${values.length}`);
  if (band) {
    const up = band.map(([lower], i) => `${x(i)},${y(lower)}`), down = band.map(([, upper], i) => `${x(i)},${y(upper)}`).reverse();
    add("polygon", { class: "band", points: [...up, ...down].join(" ") });
  }
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"];
  for (let column = count - 1; column >= 0; column--) {
    const points = values.map((row, i) => `${x(i)},${y(row[column])}`).join(" ");
    add("polyline", { points, fill: "none", stroke: colours[column], "stroke-width": 1.75 });
    if (count > 1) add("text", { class: "legend", x: left + 56 + 20 * column, y: height - 6, fill: colours[column] }, column + 1);
  }
  return svg;
}

function vector(values) {
  const shown = values.slice(0, 8).map((value) => typeof value === "number" ? number(value) : value).join(", ");
  return element("span", { text: values.length > 8 ? `${shown}, ... (${values.length} values)` : shown });
}
