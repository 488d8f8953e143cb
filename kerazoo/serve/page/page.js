// Chooses a model, sends requests and shows what comes back.

import { curlOf, parseJson } from "./formats.js";
import { element, makeFields } from "./inputs.js";
import { prediction } from "./outputs.js";

const at = (id) => document.getElementById(id);
const state = { signatures: {}, fields: [], before: null, input: "", running: null };

async function getJson(path) {
  const response = await fetch(path);
  const values = parseJson(await response.text());
  if (!response.ok) throw new Error(values.error);
  return values;
}

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

async function start() {
  const { models } = await getJson("v1/models");
  at("model").replaceChildren(...models.map(({ name }) => element("option", { value: name, text: name })));
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (models.some(({ name }) => name === wanted)) at("model").value = wanted;
  at("model").addEventListener("change", chooseModel);
  at("signature").addEventListener("change", chooseSignature);
  at("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  at("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); }
  });
  at("stream").addEventListener("change", update);
  at("copy").addEventListener("click", copy);
  await chooseModel();
}

async function chooseModel() {
  const name = at("model").value;
  location.replace(`#${encodeURIComponent(name)}`);
  const { model_spec: spec, metadata } = await getJson(`v1/models/${name}/metadata`);
  state.signatures = Object.fromEntries(Object.entries(metadata.signature_def.signature_def).filter(([, each]) => Object.keys(each.outputs).length && Object.keys(each.inputs).length && !each.inputs[""]));
  at("version").textContent = `version ${spec.version}`;
  at("metadata-link").href = `v1/models/${name}/metadata`;
  const names = Object.keys(state.signatures).filter((each) => !each.startsWith("__"));
  const first = ["serving_files", "serving_default"].find((each) => names.includes(each)) || names[0];
  at("signature").replaceChildren(...names.map((each) => element("option", { value: each, text: each.replaceAll("_", " ") })));
  at("signature").value = first;
  at("signature-choice").hidden = names.length < 2;
  chooseSignature();
}

function chooseSignature() {
  const name = at("signature").value, definition = state.signatures[name];
  const plain = name === "serving_files" ? state.signatures.serving_default : null;
  state.fields = makeFields(definition, plain, update);
  state.before = null;
  at("fields").replaceChildren(...state.fields.filter((field) => !field.isOption).map((field) => field.node));
  const options = state.fields.filter((field) => field.isOption).map((field) => field.node);
  at("option-fields").replaceChildren(...options);
  at("options").hidden = !options.length;
  at("options").open = state.fields.some((field) => field.isOption && !(field.name in (definition.defaults || {})));
  at("stream-choice").hidden = !Object.values(definition.outputs).some((info) => info.dtype === "DT_STRING" && info.tensor_shape.dim.length <= 2)
    || "label" in definition.outputs;
  at("outputs").replaceChildren(element("p", { class: "quiet", text: "Nothing was sent yet." }));
  at("note").hidden = true;
  fail("");
  update();
}

// The body of a request, with names of files in place of their bytes where `shown`; the sources of its rows as texts.
async function makeBody(shown) {
  const required = state.fields.filter((field) => !field.isOption), options = state.fields.filter((field) => field.isOption);
  const found = await Promise.all(state.fields.map(async (field) => shown && field.shown ? field.shown() : field.values()));
  const values = new Map(state.fields.map((field, i) => [field.name, found[i]]));
  const many = required.map((field) => values.get(field.name)).filter((value) => value && value.rows);
  const count = Math.max(1, ...many.map((value) => value.rows.length));
  const row = (value, i) => value && value.rows ? value.rows[Math.min(i, value.rows.length - 1)] : value;
  const body = {};
  if (at("signature").value !== "serving_default") body.signature_name = at("signature").value;
  const given = options.filter((field) => values.get(field.name) !== undefined);
  const rows = Array.from({ length: count }, (_, i) => required.map((field) => [field.name, row(values.get(field.name), i)]));
  if (given.length) {
    body.inputs = Object.fromEntries(required.map((field, j) => [field.name, rows.map((each) => each[j][1])]));
    for (const field of given) body.inputs[field.name] = values.get(field.name);
  } else if (required.length === 1) {
    body.instances = rows.map((each) => each[0][1]);
  } else {
    body.instances = rows.map((each) => Object.fromEntries(each));
  }
  const sources = rows.map((each) => each.map(([, value]) => typeof value === "string" ? value : "").filter(Boolean).join(" | "));
  return { body, sources, input: JSON.stringify(rows) };
}

const isStream = () => !at("stream-choice").hidden && at("stream").checked;
const urlOf = () => new URL(`v1/models/${at("model").value}:${isStream() ? "stream" : "predict"}`, location.href.split("#")[0]);

let updates = 0;

// The command that repeats the request.
async function update() {
  const mine = ++updates;
  let text, body;
  try {
    body = asColumns((await makeBody(true)).body);
    text = curlOf(urlOf().href, body);
  } catch (error) {
    text = `# ${error.message}`;
  }
  if (mine !== updates) return; // something changed meanwhile
  at("curl").textContent = text;
  const link = at("download").firstElementChild;
  URL.revokeObjectURL(link.href);
  at("download").hidden = !text.includes("@request.json ");
  if (!at("download").hidden) link.href = URL.createObjectURL(new Blob([JSON.stringify(body)], { type: "application/json" }));
}

// Outputs that all rows share, such as the rate of a sound, come only with columns.
function asColumns(body) {
  const outputs = state.signatures[at("signature").value].outputs;
  const shared = Object.values(outputs).some((info) => info.tensor_shape.dim.length === 0);
  if (!shared || !body.instances) return body;
  const { instances, ...rest } = body;
  const names = state.fields.filter((field) => !field.isOption).map((field) => field.name);
  const inputs = names.length === 1 ? { [names[0]]: instances } : Object.fromEntries(names.map((name) => [name, instances.map((row) => row[name])]));
  return { ...rest, inputs };
}

async function send() {
  state.running?.abort();
  const running = state.running = new AbortController();
  fail("");
  at("note").hidden = true;
  at("send").disabled = true;
  at("outputs").replaceChildren();
  try {
    const { body, sources, input } = await makeBody(false);
    if (input !== state.input) state.before = null; // changes are marked where an option changed, not the input
    state.input = input;
    const response = await fetch(urlOf(), { method: "POST", body: JSON.stringify(asColumns(body)), signal: running.signal });
    if (!response.ok) throw new Error(parseJson(await response.text()).error);
    if (isStream()) await readStream(response, sources);
    else show(parseJson(await response.text()), sources);
  } catch (error) {
    if (error.name !== "AbortError") fail(error instanceof TypeError ? `The server cannot be reached: ${error.message}` : error.message);
  } finally {
    if (state.running === running) at("send").disabled = false;
  }
}

// Reads server-sent events: words as they come, then the result.
async function readStream(response, sources) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const texts = [];
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (\w+)\ndata: (.*)$/s);
      const values = parseJson(data);
      if (name === "start" && values.incremental) {
        at("note").textContent = `Token by token, by ${values.search} search.`;
        at("note").hidden = false;
      } else if (name === "start") {
        at("note").textContent = "This model writes a text as a whole: it had finished before the first word was sent.";
        at("note").hidden = false;
      } else if (name === "token") {
        texts[values.row] = (texts[values.row] || "") + values.text;
        at("outputs").replaceChildren(...texts.map((text) => element("p", { class: "streaming", text })));
        if (events.length > 1) await new Promise(requestAnimationFrame);
      } else if (name === "result") {
        show(values, sources);
      } else if (name === "error") {
        throw new Error(values.error);
      }
    }
  }
}

// Shows predictions: rows, or columns with what the rows share.
function show(values, sources) {
  const infos = state.signatures[at("signature").value].outputs;
  const names = Object.keys(infos);
  const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const named = (value) => names.length > 1 || isObject(value) ? value : { [names[0]]: value };
  let rows, scalars = {};
  if (values.predictions) {
    rows = values.predictions.map(named);
  } else {
    const columns = named(values.outputs);
    scalars = Object.fromEntries(Object.entries(columns).filter(([, value]) => !Array.isArray(value)));
    const arrays = Object.entries(columns).filter(([, value]) => Array.isArray(value));
    rows = arrays[0][1].map((_, i) => Object.fromEntries(arrays.map(([name, value]) => [name, value[i]])));
  }
  at("outputs").replaceChildren(...rows.map((row, i) => prediction(row, infos, scalars, state.before?.[i], rows.length > 1 && sources[i], sources[i])));
  state.before = rows;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(at("curl").textContent);
  } catch { // not allowed: select it, so that the keyboard can copy it
    getSelection().selectAllChildren(at("curl"));
    return;
  }
  at("copy").textContent = "Copied";
  setTimeout(() => { at("copy").textContent = "Copy"; }, 1500);
}

start().catch((error) => fail(error.message));
