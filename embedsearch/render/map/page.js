// The page around the maps: it joins them with the legend and the search, and shows the chosen paper.

class Page {
  constructor(about, points) {
    this.about = about;
    this.points = points;
    this.n = about.n;
    this.shown = null;  // (n,) 0 or 1; null: all
    this.chosen = -1;
    this.texts = null;
    this.legend = new Legend(about, points, { recolour: () => this.colour(), refilter: () => this.filter() });
    this.plots = [...document.querySelectorAll(".map")].map((figure, i) => new Plot(
      figure, points.maps[i], about.maps[i].regions, { hover: this.hover.bind(this), choose: this.choose.bind(this) },
    ));
    this.renderer = makeRenderer();
    for (const plot of this.plots) plot.painter = this.painter(plot);
    document.documentElement.dataset.painter = this.renderer ? "card" : "pixels";
    if (!this.renderer && this.n > 1e5) notice("This browser finds no graphics card: while the map moves it is drawn coarsely.");
    this.printer = new Printer(this);
    this.listen();
    this.listRegions();
  }

  painter(plot) {
    if (this.renderer) {
      try {
        return new CardPainter(this.renderer, plot.canvas, plot.points);
      } catch (error) {
        console.info(error);
        this.renderer = null;
      }
    }
    return new PixelPainter(plot.canvas, plot.points);
  }

  async readTexts() {
    this.texts = await readTexts(this.n);
    this.search = new Search(this);
  }

  say(text) { byId("said").textContent = text; }

  listen() {
    const size = () => {
      // As large as the largest map: what is drawn beyond it would be for nothing.
      const most = (side) => Math.max(...this.plots.map((plot) => plot.element[side]));
      this.renderer?.resize(most("clientWidth"), most("clientHeight"));
      for (const plot of this.plots) plot.ask();
    };
    const watch = new ResizeObserver(size);
    for (const plot of this.plots) watch.observe(plot.element);
    size();
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.choose(-1);
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, select")) return;
      event.preventDefault();
      byId("q").focus();
    });
  }

  // ---- all of the papers -------------------------------------------------------------------------------------------

  async colour() {
    const { by, palette } = this.legend;
    const ground = getComputedStyle(document.documentElement).getPropertyValue("--raised").trim();
    this.legend.draw();
    await Promise.all(this.plots.map((plot) => plot.painter.colour(plot.points.shades[by], palette, ground)));
    for (const plot of this.plots) plot.ask();
  }

  filter() {
    this.shown = this.legend.shown;
    const count = this.shown?.reduce((sum, is) => sum + is, 0);
    byId("shown").textContent = this.shown ? `${grouped(count)} of ${grouped(this.n)} shown` : "";
    byId("all").hidden = !this.shown;
    for (const plot of this.plots) plot.shown = this.shown;
    if (this.chosen >= 0 && this.shown && !this.shown[this.chosen]) this.choose(-1);
    if (this.search?.hits) this.search.ask();
    else this.mark();
  }

  mark() {
    const rows = this.shown && rowsWhere(this.shown, Boolean);
    for (const plot of this.plots) plot.painter.mark(rows, this.search?.hits ?? null);
  }

  listRegions() {
    const holder = byId("regions");
    this.plots.forEach((plot, i) => {
      if (this.plots.length > 1 && plot.labels.length) holder.append(make("h3", { text: this.about.maps[i].label }));
      for (const region of plot.labels) {
        const go = make("button", { type: "button", text: region.label, title: region.terms.join(", ") });
        go.append(make("span", { className: "quiet", text: `  ${grouped(region.n)}` }));
        go.addEventListener("click", () => plot.travel(region.x, region.y, region.level ? 5 : 2.5));
        holder.append(go);
      }
    });
    byId("places").hidden = !holder.children.length;
  }

  // ---- one paper ---------------------------------------------------------------------------------------------------

  title(row) { return this.texts?.titles[row] || this.texts?.ids[row] || "…"; }

  details(row) {
    const { years, categories } = this.points;
    return [this.texts?.authors[row], years[row] || "", this.about.categories[categories[row]]].filter(Boolean).join(" · ");
  }

  hover(plot, row, event) {
    for (const each of this.plots) each.ring("over", row);
    plot.element.classList.toggle("onpaper", row >= 0);
    const tip = byId("tip");
    tip.hidden = row < 0;
    if (row < 0) return;
    tip.replaceChildren(make("b", { text: this.title(row) }), make("span", { text: this.details(row) }));
    const { offsetWidth: width, offsetHeight: height } = tip;
    const right = event.clientX + 16 + width > innerWidth ? event.clientX - 12 - width : event.clientX + 16;
    const below = event.clientY + 16 + height > innerHeight ? event.clientY - 12 - height : event.clientY + 16;
    Object.assign(tip.style, { left: `${Math.max(4, right)}px`, top: `${Math.max(4, below)}px` });
  }

  // Show a paper's card and its rings, -1: none; `go`: come near to it in every map.
  choose(row, { go = false } = {}) {
    this.chosen = row;
    for (const plot of this.plots) {
      plot.ring("chosen", row);
      if (row >= 0 && (go || !plot.isSeen(row))) plot.travel(plot.points.x[row], plot.points.y[row], go ? 3 : 1);
    }
    this.search?.showCurrent(row);
    byId("card").hidden = row < 0;
    if (row < 0) return;
    byId("card").replaceChildren(...this.card(row));
    this.say(`${this.title(row)}. ${this.details(row)}`);
  }

  card(row) {
    const id = this.texts?.ids[row] ?? "";
    const href = address(id);
    const where = href
      ? make("a", { href, text: `arXiv:${id}`, target: "_blank", rel: "noreferrer noopener" }) : make("span", { text: id });
    const close = make("button", { type: "button", className: "close", text: "×" });
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => this.choose(-1));
    const details = make("p", { className: "quiet", text: this.details(row) });
    return [make("h2", { text: this.title(row) }), details, make("p", {}, where), close];
  }
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = false;
}

async function start() {
  const about = JSON.parse(byId("about").textContent);
  if (typeof DecompressionStream === "undefined") throw new Error("it cannot unpack gzip");
  const page = new Page(about, readPoints(await unpack("points"), about.n, about.maps.length));
  await page.colour();
  document.documentElement.dataset.ready = "points";
  await page.readTexts();
  document.documentElement.dataset.ready = "all";
}

start().catch((error) => {
  notice(`This browser cannot show the map (${error.message}). A browser of 2023 or later can.`);
  throw error;
});
