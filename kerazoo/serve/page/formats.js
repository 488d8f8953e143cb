// Files to values of a request, values to text, and the command that repeats a request.

export function toBase64(buffer) {
  const bytes = new Uint8Array(buffer);
  let text = "";
  for (let start = 0; start < bytes.length; start += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return btoa(text);
}

// The rows of a CSV or TSV file, with values in quotes read as spreadsheets write them.
export function parseTable(text) {
  const first = text.slice(0, text.search(/\r?\n|$/));
  const delimiter = [",", "\t", ";"].reduce((best, each) =>
    first.split(each).length > first.split(best).length ? each : best);
  const rows = [[]];
  let cell = "", quoted = false, begun = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (c === '"' && !begun) {
      quoted = begun = true;
    } else if (c === delimiter || c === "\n") {
      rows.at(-1).push(cell.replace(/\r$/, ""));
      if (c === "\n") rows.push([]);
      cell = ""; begun = false;
    } else {
      cell += c; begun = true;
    }
  }
  if (cell || begun || rows.at(-1).length) rows.at(-1).push(cell.replace(/\r$/, ""));
  return rows.filter((row) => row.some((value) => value.trim()));
}

// The last `length` rows of a table as numbers, `width` of them in each; throws an Error that says what is missing.
export function windowOfTable(rows, length, width) {
  const isNumber = (value) => value.trim() !== "" && Number.isFinite(Number(value));
  const usable = rows.slice(rows[0] && rows[0].slice(-width).every(isNumber) ? 0 : 1);
  if (usable.length < length) throw new Error(`The table needs ${length} rows of numbers; it has ${usable.length}.`);
  return usable.slice(-length).map((row, index) => {
    const cells = row.slice(-width);
    if (cells.length < width || !cells.every(isNumber)) {
      throw new Error(`Each row needs ${width} numbers at its end; row ${usable.length - length + index + 1} has "${row.join(", ").slice(0, 60)}".`);
    }
    return cells.map(Number);
  });
}

// The pixels of an image file, scaled to height and width, as nested lists of whole numbers [height][width][channels].
export async function pixelsOf(file, height, width, channels) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const data = context.getImageData(0, 0, width, height).data;
  const grey = (at) => Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => {
    const at = 4 * (y * width + x);
    return channels === 1 ? [grey(at)] : Array.from(data.slice(at, at + channels));
  }));
}

// The samples of a sound file from -1 to 1, with the channels averaged: those of a WAV file as they are, without another
// rate; of other files at 16,000 a second.
export async function samplesOf(file) {
  const bytes = await file.arrayBuffer(), header = new DataView(bytes);
  const isWav = bytes.byteLength > 28 && header.getUint32(0) === 0x52494646; // RIFF
  const context = new OfflineAudioContext(1, 1, isWav ? header.getUint32(24, true) : 16000);
  const buffer = await context.decodeAudioData(bytes);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, i) => buffer.getChannelData(i));
  return Array.from(channels[0], (_, i) => Number((channels.reduce((sum, each) => sum + each[i], 0) / channels.length).toFixed(6)));
}

// A WAV file of 16 bits of samples from -1 to 1.
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  write(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true);
  view.setUint16(34, 16, true); write(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, value))), true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

// JSON in which numbers may be NaN or infinite, as TensorFlow Serving writes it; such numbers are null here.
export function parseJson(text) {
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (found) => found[0] === '"' ? found : "null"));
}

export function number(value) {
  if (value === null) return "not a number";
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3 ? value.toExponential(3) : value.toFixed(4);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The command that sends `body` to `url`. A file in it is `{file: NAME}` in place of its bytes.
export function curlOf(url, body) {
  const curl = url.endsWith(":stream") ? "curl -N" : "curl"; // -N writes each event when it comes
  const files = [];
  const plain = JSON.stringify(body, (key, value) => {
    if (!value || !value.file) return value;
    files.push(value.file);
    return { b64: "\u0001" };
  });
  if (!files.length) {
    if (plain.length < 4000) return `${curl} -d ${quoted(plain)} ${url}`;
    return `${curl} -d @request.json ${url}`;
  }
  const form = plain.replaceAll("%", "%%").replaceAll("\\u0001", "%s");
  const parts = files.map((name) => `"$(base64 < ${quoted(name)} | tr -d '\\n')"`);
  return `printf ${quoted(form)} ${parts.join(" ")} | ${curl} -d @- ${url}`;
}

// The words of a text, each marked whether it is missing in the text before: a longest common subsequence.
export function changedWords(before, after) {
  const a = before.match(/\s*\S+|\s+$/g) || [], b = after.match(/\s*\S+|\s+$/g) || [];
  const size = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      size[i][j] = a[i].trim() === b[j].trim() ? size[i + 1][j + 1] + 1 : Math.max(size[i + 1][j], size[i][j + 1]);
    }
  }
  const words = [];
  for (let i = 0, j = 0; j < b.length;) {
    if (i < a.length && a[i].trim() === b[j].trim()) { words.push([b[j++], false]); i++; }
    else if (i < a.length && size[i + 1][j] >= size[i][j + 1]) i++;
    else words.push([b[j++], true]);
  }
  return words;
}
