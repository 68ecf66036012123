// The search: papers with all words in title, authors or id, as a list, and one after the other in the maps.

const MOST_LISTED = 100;

class Search {
  // `page` says what a paper is, which are shown, and marks and shows what is found.
  constructor(page) {
    this.page = page;
    this.hits = null;  // rows found; null: nothing is searched for
    this.place = -1;
    this.box = byId("q");
    this.box.disabled = false;
    this.listen();
    setTimeout(() => this.lines, 300);  // before the first search, after the first look
  }

  listen() {
    const patience = this.page.n > 5e4 ? 250 : 80;
    let waiting = 0;
    this.box.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.ask(), patience);
    });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        clearTimeout(waiting);
        this.ask();
        this.step(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape" && this.box.value) {
        event.stopPropagation();
        this.box.value = "";
        this.ask();
      } else if (event.key === "ArrowDown") byId("hits").querySelector("button")?.focus();
      else return;
      event.preventDefault();
    });
    byId("next").addEventListener("click", () => this.step(1));
    byId("previous").addEventListener("click", () => this.step(-1));
    byId("hits").addEventListener("keydown", (event) => {
      const to = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      if (!to) return;
      event.preventDefault();
      const item = event.target.closest("li")[to];
      if (item) item.firstElementChild.focus();
      else if (event.key === "ArrowUp") this.box.focus();
    });
  }

  // What is searched, a line a paper; for a large map they take a moment to make.
  get lines() {
    const { ids, titles, authors } = this.page.texts;
    this.made ??= ids.map((id, i) => fold(`${titles[i]} ${authors[i]} ${id}`));
    return this.made;
  }

  // Search for what stands in the box, unless that was done.
  ask() {
    const asked = fold(this.box.value).trim();
    const { shown } = this.page;
    if (asked === this.asked && shown === this.within) return;
    this.asked = asked;
    this.within = shown;
    const words = asked.split(/\s+/).filter(Boolean);
    const has = (line, i) => (!shown || shown[i]) && words.every((word) => line.includes(word));
    this.hits = words.length ? rowsWhere(this.lines, has) : null;
    this.place = -1;
    this.list();
    this.page.mark();
  }

  list() {
    const n = this.hits?.length ?? 0;
    byId("found").hidden = byId("next").hidden = byId("previous").hidden = !n;
    byId("count").textContent = this.hits ? `${grouped(n)} of ${grouped(this.page.n)}` : "";
    this.page.say(this.hits ? `${grouped(n)} papers found` : "");
    byId("more").textContent = n > MOST_LISTED ? `The first ${MOST_LISTED} of ${grouped(n)}: Enter goes on through all.` : "";
    byId("hits").replaceChildren(...Array.from((this.hits ?? []).slice(0, MOST_LISTED), (row, i) => {
      const details = make("small", { text: this.page.details(row) });
      const button = make("button", { type: "button", text: this.page.title(row) }, details);
      button.addEventListener("click", () => this.go(i));
      return make("li", {}, button);
    }));
  }

  step(by) {
    const n = this.hits?.length;
    if (n) this.go(this.place < 0 && by < 0 ? n - 1 : (this.place + by + n) % n);
  }

  go(place) {
    this.place = place;
    this.page.choose(this.hits[place], { go: true });
    byId("count").textContent = `${grouped(place + 1)} of ${grouped(this.hits.length)}`;
  }

  // Which of the list is the chosen paper.
  showCurrent(chosen) {
    [...byId("hits").children].forEach((item, i) => {
      const button = item.firstElementChild;
      if (i === this.place && this.hits[i] === chosen) {
        button.setAttribute("aria-current", "true");
        button.scrollIntoView({ block: "nearest" });
      } else button.removeAttribute("aria-current");
    });
  }
}
