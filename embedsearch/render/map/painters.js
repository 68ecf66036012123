// Two ways to draw the points: regl-scatterplot (WebGL) where there is a graphics card, pixels on a plain canvas where
// there is none: WebGL without a card exists, but is several times slower than these (see benchmarks/map_page.py).
// Both draw what a camera sees: a place x, y is at (x k + cx, y k + cy) in halves of the height from the middle, y upwards.

// Sizes in pixels and opacities at which few papers are seen and many do not run into one.
const sizeOf = (n, ratio) => Math.min(14, Math.min(7, Math.max(1.6, 8.4 - 1.2 * Math.log10(n + 1))) * Math.max(1, ratio) ** 0.4);
const opacityOf = (n, ratio) => Math.min(0.9, 0.7 * (1e4 / (n + 1)) ** 0.35 * Math.max(1, ratio) ** 0.5);
const FAINT = 0.15;  // what is not found, beside what is

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

// What draws for WebGL. (failIfMajorPerformanceCaveat would ask the same, but Chromium heeds it only with some settings.)
function nameOf(gl) {
  const unmasked = gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL;
  return String(gl.getParameter(unmasked ?? gl.RENDERER));
}

// A renderer for all maps of the page, or null without a card. `scatter` is the library.
function makeRenderer() {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  const needed = ["OES_texture_float", "OES_element_index_uint", "WEBGL_color_buffer_float", "EXT_float_blend"];
  if (!gl || !needed.every((name) => gl.getExtension(name)) || SOFTWARE.test(nameOf(gl))) return null;
  // The programs in the library were compiled for the least that each card has (see vendored/README.md).
  const ask = gl.getParameter.bind(gl);
  gl.getParameter = (name) => (name === gl.MAX_VERTEX_ATTRIBS ? 8 : ask(name));
  try {
    return scatter.createRenderer({ regl: scatter.createRegl({ gl, extensions: needed }), canvas });
  } catch (error) {
    console.info(error);
    return null;
  }
}

class CardPainter {
  constructor(renderer, canvas, points) {
    this.renderer = renderer;
    this.points = points;
    this.n = points.x.length;
    this.shown = null;
    this.found = null;
    this.opacity = 0;
    this.plot = scatter.createScatterplot({
      renderer, canvas, cameraIsFixed: true, actionKeyMap: {}, deselectOnDblClick: false, deselectOnEscape: false,
      spatialIndexUseWorker: false, colorBy: "valueA", pointScaleMode: "constant", pointSize: sizeOf(this.n, 1),
      pointSizeSelected: 3, pointOutlineWidth: 0, opacity: opacityOf(this.n, 1),
    });
    this.work = Promise.resolve();  // the library refuses a second drawing while one is under way
  }

  // Colours of all points: `shades` (n,) numbers in `palette`; resolves when they are drawn.
  colour(shades, palette, ground) {
    const rows = Array.from(this.points.x, (x, i) => [x, this.points.y[i], shades[i]]);
    return this.then(async () => {
      await this.plot.set({ pointColor: palette, pointColorActive: palette, backgroundColor: ground });
      const spatialIndex = this.plot.get("spatialIndex");
      await this.plot.draw(rows, { zDataType: "categorical", ...(spatialIndex && { spatialIndex }) });
      await this.choose();
    });
  }

  then(next) {
    this.work = this.work.then(next);
    return this.work;
  }

  // Which are drawn at all, and which of them stand out: sorted numbers, null for all and for none.
  mark(shown, found) {
    this.shown = shown;
    this.found = found;
    return this.then(() => this.choose());
  }

  async choose() {
    if (this.shown) await this.plot.filter(Array.from(this.shown), { preventEvent: true });
    else if (this.plot.get("isPointsFiltered")) await this.plot.unfilter({ preventEvent: true });
    this.plot.deselect({ preventEvent: true });
    if (this.found?.length) this.plot.select(Array.from(this.found), { preventEvent: true });
    this.opacity = 0;
    this.draw(this.camera);
  }

  draw(camera) {
    if (!camera) return;
    this.camera = camera;
    const { k, cx, cy, ratio } = camera;
    const opacity = opacityOf(this.n, ratio) * (this.found ? FAINT : 1);
    if (Math.abs(opacity / this.opacity - 1) > 0.05) {
      this.opacity = opacity;
      this.plot.set({ opacity, pointSize: sizeOf(this.n, ratio) });
    }
    this.plot.get("camera").setView([k, 0, 0, 0, 0, k, 0, 0, 0, 0, 1, 0, cx, cy, 0, 1]);
    this.plot.redraw();
  }

  resize() {}  // the library watches its canvas
}

class PixelPainter {
  // `size`: width, height, and pixels for each of them; without it, those of the canvas on the screen.
  constructor(canvas, points, size) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.points = points;
    this.shown = null;
    this.found = null;
    this.drawn = 0;
    this.resize(size);
  }

  resize([width, height, scale] = [this.canvas.clientWidth, this.canvas.clientHeight, window.devicePixelRatio || 1]) {
    this.scale = scale;
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.words = new Uint32Array(this.image.data.buffer);
  }

  async colour(shades, palette, ground) {
    const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    this.shades = shades;
    this.palette = palette.map(channels);
    this.ground = channels(ground);
    this.draw(this.camera);
  }

  async mark(shown, found) {
    this.shown = shown;
    this.found = found;
    this.draw(this.camera);
  }

  // While things move, large maps are drawn with small points, and properly once they rest.
  draw(camera, rests = false) {
    if (!camera || !this.shades) return;
    this.camera = camera;
    const n = this.points.x.length;
    const now = performance.now();
    const quick = n > 20000 && !rests && now - this.drawn < 150;
    this.drawn = now;
    clearTimeout(this.later);
    if (quick) this.later = setTimeout(() => this.draw(this.camera, true), 150);
    const size = sizeOf(n, camera.ratio) * this.scale;
    const [red, green, blue] = this.ground;
    this.words.fill(((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0);
    this.splat(this.shown, n, quick ? Math.min(size, 2) : size, opacityOf(n, camera.ratio) * (this.found ? FAINT : 1));
    if (this.found) this.splat(this.found, this.found.length, size + 2 * this.scale, 1);
    this.context.putImageData(this.image, 0, 0);
  }

  // Discs, mixed into what is there; in whole numbers, since this is done for millions of pixels.
  splat(rows, n, size, opacity) {
    const { data, width, height } = this.image;
    const { k, cx, cy } = this.camera;
    const { x, y } = this.points;
    const half = height / 2;
    const side = Math.ceil(size);
    const first = side >> 1;
    const cover = coverage(side, size, opacity);
    for (let j = 0; j < (rows ? rows.length : n); j++) {
      const i = rows ? rows[j] : j;
      const left = Math.round(width / 2 + (x[i] * k + cx) * half) - first;
      const top = Math.round(half - (y[i] * k + cy) * half) - first;
      if (left + side <= 0 || top + side <= 0 || left >= width || top >= height) continue;
      const [red, green, blue] = this.palette[this.shades[i]];
      const end = Math.min(side, width - left);
      for (let row = Math.max(0, -top), last = Math.min(side, height - top); row < last; row++) {
        for (let column = Math.max(0, -left); column < end; column++) {
          const share = cover[row * side + column];
          const at = ((top + row) * width + left + column) * 4;
          data[at] += ((red - data[at]) * share) >> 8;
          data[at + 1] += ((green - data[at + 1]) * share) >> 8;
          data[at + 2] += ((blue - data[at + 2]) * share) >> 8;
        }
      }
    }
  }
}

// How much of each pixel of a square a disc covers, times its opacity, in 1/256.
function coverage(side, size, opacity) {
  return Uint16Array.from({ length: side * side }, (_, at) => {
    const away = Math.hypot((at % side) + 0.5 - side / 2, Math.floor(at / side) + 0.5 - side / 2);
    return Math.round(256 * opacity * Math.min(1, Math.max(0, size / 2 + 0.5 - away)));
  });
}
