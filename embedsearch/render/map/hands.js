// Pointer, wheel and keys on one map. Every move is one of the plot's: move, zoom, lookAtAll.

const STILL = 4;  // pixels: a hand that shakes still means to click

class Hands {
  constructor(plot) {
    this.plot = plot;
    this.element = plot.element;
    this.pointers = new Map();
    this.moved = 0;
    const on = (name, does, options) => this.element.addEventListener(name, does.bind(this), options);
    on("pointerdown", this.press);
    on("pointermove", this.drag);
    on("pointerup", this.release);
    on("pointercancel", this.release);
    on("pointerleave", (event) => plot.told.hover(plot, -1, event));
    on("wheel", this.wheel, { passive: false });
    on("dblclick", (event) => { if (!event.target.closest("button")) plot.zoom(2, ...this.at(event)); });
    on("keydown", this.key);
    on("click", this.button);
  }

  at(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left - this.element.clientLeft, event.clientY - box.top - this.element.clientTop];
  }

  press(event) {
    if (event.button || event.target.closest("button")) return;
    this.plot.rest();
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.moved = this.pointers.size > 1 ? Infinity : 0;  // two fingers never mean a click
  }

  drag(event) {
    const { plot } = this;
    const now = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      plot.told.hover(plot, event.target.closest("button") ? -1 : plot.pick(...now), event);
      return;
    }
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    this.moved = Math.max(this.moved, Math.hypot(dx, dy));
    if (this.moved < STILL) return;
    this.pointers.set(event.pointerId, now);
    this.element.classList.add("dragging");
    plot.told.hover(plot, -1, event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) { plot.move(dx, dy); return; }
    const apart = (from) => Math.max(10, Math.hypot(from[0] - other[0], from[1] - other[1]));
    plot.move(dx / 2, dy / 2);
    plot.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  release(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    this.element.classList.toggle("dragging", this.pointers.size > 0);
    if (event.type === "pointerup" && this.moved < STILL) this.plot.told.choose(this.plot.pick(...this.at(event)));
  }

  wheel(event) {
    event.preventDefault();
    this.plot.rest();
    const pixels = event.deltaY * (event.deltaMode ? 30 : 1) * (event.ctrlKey ? 5 : 1);  // Ctrl: a pinch on a touchpad
    this.plot.zoom(Math.exp(-Math.max(-300, Math.min(300, pixels)) * 0.0016), ...this.at(event));
  }

  button(event) {
    const how = event.target.closest("button")?.dataset.zoom;
    if (!how) return;
    this.plot.rest();
    if (how === "all") this.plot.lookAtAll();
    else this.plot.zoom(how === "in" ? 1.5 : 1 / 1.5);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.element) return;
    const { plot } = this;
    const step = 60;
    const does = {
      ArrowLeft: () => plot.move(step, 0), ArrowRight: () => plot.move(-step, 0),
      ArrowUp: () => plot.move(0, step), ArrowDown: () => plot.move(0, -step),
      "+": () => plot.zoom(1.4), "=": () => plot.zoom(1.4), "-": () => plot.zoom(1 / 1.4), "0": () => plot.lookAtAll(),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    plot.rest();
    does();
  }
}
