// What the file carries: about (JSON), points (numbers) and texts, both gzip in base64.

const byId = (id) => document.getElementById(id);

// Make an element; texts are set as texts, never as HTML.
function make(tag, { text, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

async function unpack(id) {
  const holder = byId(id);
  const raw = atob(holder.textContent);
  holder.remove();  // of a large map these are tens of megabytes
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// The numbers in the order in which map_page.py writes them: little-endian, 16-bit ones first, so that all are aligned.
function readPoints(buffer, n, nMaps) {
  let at = 0;
  const take = (Kind) => {
    const taken = new Kind(buffer, at, n);
    at += taken.byteLength;
    return taken;
  };
  const places = Array.from({ length: nMaps }, () => [take(Uint16Array), take(Uint16Array)]);
  const years = take(Uint16Array);
  const categories = take(Uint16Array);
  const shades = { category: take(Uint8Array), year: take(Uint8Array) };
  const densities = Array.from({ length: nMaps }, () => take(Uint8Array));
  const coordinates = (whole) => Float32Array.from(whole, (value) => value / 32767.5 - 1);
  return {
    years,
    categories,
    maps: places.map(([x, y], i) => ({
      x: coordinates(x), y: coordinates(y), shades: { ...shades, density: densities[i] },
    })),
  };
}

async function readTexts(n) {
  const lines = new TextDecoder().decode(await unpack("texts")).split("\n");
  return { ids: lines.slice(0, n), titles: lines.slice(n, 2 * n), authors: lines.slice(2 * n, 3 * n) };
}

// Without case and accents, so that "Muller" finds Müller.
const fold = (text) => (/[^\x00-\x7f]/.test(text) ? text.normalize("NFD").replace(/\p{M}/gu, "") : text).toLowerCase();

// Only an arXiv id leads to arXiv: the ids of other corpora are anything.
const ARXIV = /^(\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?\/\d{7})(v\d+)?$/;
const address = (id) => (ARXIV.test(id) ? `https://arxiv.org/abs/${id}` : null);

const grouped = (number) => number.toLocaleString("en");

// The numbers of those for which `is` holds, in order.
function rowsWhere(values, is) {
  const rows = [];
  for (let i = 0; i < values.length; i++) if (is(values[i], i)) rows.push(i);
  return Uint32Array.from(rows);
}
