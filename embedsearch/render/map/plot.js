// One map: where one looks at it, what the pointer is on, its labels and rings.

const MOST_ZOOM = 200;
const NEAR = 9;        // pixels from a paper at which it is meant
const FINE_FROM = 1.8;  // how far one has come near when the fine regions are named in place of the coarse ones

function extent(values) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

class Plot {
  // `told` has hover(plot, row, event) and choose(row); row is -1 where nothing is.
  constructor(figure, points, regions, told) {
    this.element = figure.querySelector(".plot");
    this.canvas = figure.querySelector(".points");
    this.points = points;
    this.told = told;
    this.shown = null;
    this.rings = { over: -1, chosen: -1 };
    this.asked = 0;
    this.labels = this.makeLabels(regions);
    this.bounds = [extent(points.x), extent(points.y)];
    this.measure();
    this.lookAtAll();
    this.hands = new Hands(this);
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  makeLabels(regions) {
    const parents = new Set(regions.map((region) => region.parent));
    const holder = this.element.querySelector(".labels");
    return regions
      .map((region, i) => ({ ...region, lone: region.level === 0 && !parents.has(i) }))
      .sort((a, b) => b.n - a.n)
      .map((region) => {
        const lines = region.label.split(" · ").map((text) => make("span", { text }));
        const span = make("span", { className: region.level ? "fine" : "coarse" }, ...lines);
        holder.append(span);
        return { ...region, span, size: null };
      });
  }

  // ---- where one looks ---------------------------------------------------------------------------------------------

  measure() {
    this.width = this.element.clientWidth;
    this.height = this.element.clientHeight;
    const [across, down] = this.bounds.map(([least, most]) => Math.max(0.05, (most - least) / 2));
    this.fit = 0.92 * Math.min(this.width / Math.max(1, this.height) / across, 1 / down);
  }

  resize() {
    const before = this.k;
    const near = before / this.fit;
    this.measure();
    this.k = near * this.fit;
    this.cx *= this.k / before;
    this.cy *= this.k / before;
    this.painter?.resize();
    this.ask();
  }

  get camera() { return { k: this.k, cx: this.cx, cy: this.cy, ratio: this.k / this.fit }; }

  lookAtAll() {
    const [cx, cy] = this.bounds.map(([least, most]) => -(least + most) / 2 * this.fit);
    Object.assign(this, { k: this.fit, cx, cy });
    this.ask();
  }

  across(x) { return this.width / 2 + (x * this.k + this.cx) * this.height / 2; }
  down(y) { return this.height / 2 - (y * this.k + this.cy) * this.height / 2; }

  move(dx, dy) {
    this.cx += dx * 2 / this.height;
    this.cy -= dy * 2 / this.height;
    this.hold();
  }

  // Come nearer by a factor; what is at the place (px, py) of the picture stays there.
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const to = Math.min(MOST_ZOOM * this.fit, Math.max(0.5 * this.fit, this.k * factor));
    const x = (px - this.width / 2) * 2 / this.height;
    const y = (this.height / 2 - py) * 2 / this.height;
    this.cx = x - (x - this.cx) * to / this.k;
    this.cy = y - (y - this.cy) * to / this.k;
    this.k = to;
    this.hold();
  }

  // The map is never lost from sight: the middle of the picture stays within it.
  hold() {
    const [x, y] = this.bounds;
    this.cx = Math.min(-x[0] * this.k, Math.max(-x[1] * this.k, this.cx));
    this.cy = Math.min(-y[0] * this.k, Math.max(-y[1] * this.k, this.cy));
    this.ask();
  }

  // End a journey: the reader's own hand goes before it.
  rest() { this.trip = null; }

  // Travel to a place, at least as near as `ratio`.
  travel(x, y, ratio) {
    const from = { k: this.k, cx: this.cx, cy: this.cy };
    const k = Math.max(this.k, ratio * this.fit);
    const to = { k, cx: -x * k, cy: -y * k };
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const began = performance.now();
    this.trip = began;
    const step = (now) => {
      if (this.trip !== began) return;
      const share = calm ? 1 : Math.min(1, Math.max(0, now - began) / 350);
      const eased = share * share * (3 - 2 * share);
      for (const key of ["k", "cx", "cy"]) this[key] = from[key] + (to[key] - from[key]) * eased;
      this.ask();
      if (share < 1) requestAnimationFrame(step);
    };
    step(began);
  }

  isSeen(row) {
    const x = this.across(this.points.x[row]);
    const y = this.down(this.points.y[row]);
    return x > 20 && y > 20 && x < this.width - 20 && y < this.height - 20;
  }

  // ---- drawing -----------------------------------------------------------------------------------------------------

  ask() {
    if (!this.asked) this.asked = requestAnimationFrame(() => { this.asked = 0; this.draw(); });
  }

  draw() {
    this.painter?.draw(this.camera);
    this.placeLabels();
    for (const [name, row] of Object.entries(this.rings)) {
      const ring = this.element.querySelector(`.ring.${name}`);
      ring.hidden = row < 0;
      if (row >= 0) ring.style.transform = `translate(${this.across(this.points.x[row])}px, ${this.down(this.points.y[row])}px)`;
    }
  }

  // The largest regions first; a label that would touch one that stands already waits until one comes nearer.
  placeLabels() {
    const fine = this.k / this.fit >= FINE_FROM;
    const placed = [];
    for (const label of this.labels) {
      label.size ??= [label.span.offsetWidth, label.span.offsetHeight];
      const [w, h] = label.size;
      const left = this.across(label.x) - w / 2;
      const top = this.down(label.y) - h / 2;
      const wanted = fine ? label.level > 0 || label.lone : label.level === 0;
      const seen = wanted && left > 2 && top > 2 && left + w < this.width - 2 && top + h < this.height - 2
        && !placed.some((box) => left < box.right + 8 && box.left < left + w + 8 && top < box.bottom + 4 && box.top < top + h + 4);
      label.span.classList.toggle("seen", seen);
      if (!seen) continue;
      label.span.style.transform = `translate(${left}px, ${top}px)`;
      placed.push({ left, top, right: left + w, bottom: top + h });
    }
  }

  ring(name, row) {
    if (this.rings[name] === row) return;
    this.rings[name] = row;
    this.ask();
  }

  // The nearest shown paper to a place of the picture: all are looked at, a millisecond for 300,000.
  pick(px, py) {
    const { x, y } = this.points;
    const scale = 2 / this.height;
    const wantedX = ((px - this.width / 2) * scale - this.cx) / this.k;
    const wantedY = ((this.height / 2 - py) * scale - this.cy) / this.k;
    let best = (NEAR * scale / this.k) ** 2;
    let row = -1;
    for (let i = 0; i < x.length; i++) {
      const dx = x[i] - wantedX;
      const dy = y[i] - wantedY;
      const far = dx * dx + dy * dy;
      if (far < best && (!this.shown || this.shown[i])) { best = far; row = i; }
    }
    return row;
  }
}
