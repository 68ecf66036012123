// What the colours mean, and which papers are shown: both are chosen in the legend.

class Legend {
  // `recolour` is called when the colours change, `refilter` when other papers are to be shown.
  constructor(about, points, { recolour, refilter }) {
    Object.assign(this, { about, points, recolour, refilter });
    this.by = about.by;
    this.onPaper = false;
    this.dark = window.matchMedia("(prefers-color-scheme: dark)");
    this.reset();
    const choice = byId("by");
    for (const option of [...choice.options]) if (!about.offers.includes(option.value)) option.remove();
    choice.value = this.by;
    choice.addEventListener("change", () => { this.by = choice.value; recolour(); });
    byId("all").addEventListener("click", () => { this.reset(); this.draw(); refilter(); });
    this.dark.addEventListener("change", recolour);
  }

  reset() {
    this.off = new Set();  // groups that are not shown
    this.years = [-Infinity, Infinity];
    this.densities = [0, 1];
  }

  get palette() {
    const { colours } = this.by === "category" ? this.about.category : this.about.ramp;
    return colours.map((hex) => this.visible(hex));
  }

  // Colours that run into the ground are mixed with its opposite; the black of the palette becomes white in the dark.
  visible(hex) {
    const dark = this.dark.matches && !this.onPaper;
    if (dark && hex === "#000000") return "#ffffff";
    const channels = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    const light = 0.2126 * channels[0] ** 2.2 + 0.7152 * channels[1] ** 2.2 + 0.0722 * channels[2] ** 2.2;
    const share = dark ? Math.max(0, 0.16 - light) * 2.5 : Math.max(0, light - 0.55) * 0.7;
    const mixed = channels.map((value) => Math.round(255 * (value + ((dark ? 1 : 0) - value) * share)));
    return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  }

  // ---- what is shown -----------------------------------------------------------------------------------------------

  // Of each paper whether it is shown, 0 or 1; null: all are.
  get shown() {
    const { years, maps } = this.points;
    const [from, to] = this.years;
    const [sparse, dense] = this.densities;
    const byYear = from > -Infinity || to < Infinity;
    const byDensity = sparse > 0 || dense < 1;
    if (!this.off.size && !byYear && !byDensity) return null;
    const groups = maps[0].shades.category;
    const least = sparse * this.about.nShades;
    const most = dense * this.about.nShades;
    return Uint8Array.from(years, (year, i) => {
      if (this.off.has(groups[i])) return 0;
      if (byYear && (!year || year < from || year > to)) return 0;
      return !byDensity || maps.every(({ shades }) => shades.density[i] >= least && shades.density[i] < most) ? 1 : 0;
    });
  }

  // ---- how it looks ------------------------------------------------------------------------------------------------

  draw() {
    byId("legend").replaceChildren(...(this.by === "category" ? [this.groups()] : [...this.scale(), this.range()]));
  }

  groups() {
    const { names, colours, counts } = this.about.category;
    return make("ul", {}, ...names.map((name, i) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = this.visible(colours[i]);
      const box = make("input", { type: "checkbox", checked: !this.off.has(i) });
      box.addEventListener("change", () => {
        if (box.checked) this.off.delete(i);
        else this.off.add(i);
        this.refilter();
      });
      const count = make("span", { text: grouped(counts[i]) });
      return make("li", {}, make("label", {}, box, swatch, make("span", { text: name }), count));
    }));
  }

  scale() {
    const colours = this.palette.slice(0, -1);  // the last is for what is not known
    const bar = make("canvas", { width: colours.length, height: 1 });
    const context = bar.getContext("2d");
    colours.forEach((colour, i) => { context.fillStyle = colour; context.fillRect(i, 0, 1, 1); });
    const ticks = this.about[this.by].ticks.map(([at, text]) => {
      const tick = make("span", { text });
      tick.style.left = `${100 * at}%`;
      return tick;
    });
    return [bar, make("div", { className: "ticks" }, ...ticks)];
  }

  // From, to: of years, or of density in per cent.
  range() {
    const years = this.by === "year";
    const ends = years ? this.about.year.range : [0, 100];
    const now = years ? this.years : this.densities;
    const boxes = [0, 1].map((end) => {
      const box = make("input", { type: "number", min: ends[0], max: ends[1] });
      box.setAttribute("aria-label", `${years ? "Year" : "Density in per cent"}, ${end ? "to" : "from"}`);
      box.value = Math.round(Math.min(ends[1], Math.max(ends[0], now[end] * (years ? 1 : 100))));
      box.addEventListener("change", () => {
        const given = box.value === "" ? ends[end] : Number(box.value);
        const beyond = end ? given >= ends[1] : given <= ends[0];  // at the end of the scale papers without a year stay
        if (years) now[end] = beyond ? [-Infinity, Infinity][end] : given;
        else now[end] = beyond ? end : given / 100;
        this.refilter();
      });
      return box;
    });
    return make("div", { className: "range" }, "Show", boxes[0], "to", boxes[1], years ? "" : "%");
  }
}
