// Makes the page faster and gives it keys; without it every link and form works as it stands.
"use strict";

(() => {
  const form = document.getElementById("search");
  const box = document.getElementById("q");
  const said = document.getElementById("said");
  const modes = document.getElementById("modes");
  const main = document.getElementById("main");
  const keyForm = document.getElementById("key-form");
  const wide = window.matchMedia("(min-width: 60.01rem)");
  const KEY = "embedsearch-key";
  const NAME = document.title.split(" – ").pop();
  const FRAGMENTS = { "/": "/page/results", "/today": "/page/today" };  // of each page, what stands below the box
  const USUAL = { mode: "hybrid", sort: "score", combine: "nearest" };
  let under_way = null;
  let tried = false;

  const view = () => document.getElementById("view");
  const hits = () => [...document.querySelectorAll(".hit")];

  // ---- asking the server -------------------------------------------------------------------------------------------

  function storedKey() {
    try { return sessionStorage.getItem(KEY); } catch { return null; }
  }

  function keep(key) {
    try { key === null ? sessionStorage.removeItem(KEY) : sessionStorage.setItem(KEY, key); } catch { /* asked again */ }
  }

  function ask(path, signal) {
    const key = storedKey();
    return fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {}, signal, credentials: "same-origin" });
  }

  function askForKey() {
    if (!keyForm) { location.reload(); return; }
    document.getElementById("key-said").textContent = tried ? "This server does not know that key." : "";
    keep(null);
    view().hidden = true;
    keyForm.hidden = false;
    document.getElementById("key").focus();
  }

  function failed(words) {
    const place = view();
    const section = document.createElement("section");
    section.className = "sorry";
    const heading = document.createElement("h1");
    heading.id = "heading";
    heading.tabIndex = -1;
    heading.textContent = words;
    section.append(heading);
    place.className = "view";
    place.replaceChildren(section);
    said.textContent = words;
  }

  // Show the state that an address means. Resolves to whether it is shown.
  async function show(path, search) {
    if (under_way) under_way.abort();
    const mine = under_way = new AbortController();
    main.classList.add("busy");
    main.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(`${FRAGMENTS[path]}${search}`, mine.signal);
      const text = await answer.text();
      if (mine !== under_way) return false;
      if (answer.status === 401) { askForKey(); return false; }
      if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) {
        failed(answer.status === 503 ? "The index cannot answer right now: try again in a moment" : "The server could not answer that");
        return true;
      }
      put(text);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      failed("The server cannot be reached");
      return true;
    } finally {
      if (mine === under_way) {
        under_way = null;
        main.classList.remove("busy");
        main.removeAttribute("aria-busy");
      }
    }
  }

  function put(text) {
    const holder = document.createElement("template");
    holder.innerHTML = text;  // from our own server, which has escaped it
    const fresh = holder.content.getElementById("view");
    const open = document.getElementById("filters")?.open;
    view().replaceWith(fresh);
    if (keyForm) keyForm.hidden = true;
    document.getElementById("index").textContent = fresh.dataset.index;
    modes.hidden = modes.disabled = "wordsOnly" in fresh.dataset;
    matchDay(fresh);
    document.body.className = fresh.dataset.kind === "home" ? "home" : "asked";
    document.title = fresh.dataset.title ? `${fresh.dataset.title} – ${NAME}` : NAME;
    said.textContent = fresh.dataset.said;
    prepare(open);
  }

  // The link to the day's list: there where the index has one, and who asks may see it.
  function matchDay(fresh) {
    const day = document.getElementById("day");
    day.parentElement.hidden = !("day" in fresh.dataset);
    if (location.pathname === day.pathname) day.setAttribute("aria-current", "page");
    else day.removeAttribute("aria-current");
  }

  function prepare(open) {
    const filters = document.getElementById("filters");
    if (filters) filters.open = wide.matches || Boolean(open);
    count();
  }

  // ---- chosen papers: in the address, so that it can be shared, and in the form ------------------------------------

  const chosen = () => [...new Set(new FormData(form).getAll("like"))];
  const ticked = () => [...document.querySelectorAll(".choose input:checked")];

  function count() {
    const bar = document.getElementById("bar");
    const ids = chosen();
    const n = ids.length;
    document.getElementById("day").search = new URLSearchParams(ids.map((id) => ["like", id]));
    if (!bar) return;
    bar.classList.toggle("on", "asked" in bar.dataset ? ticked().length > 0 : n > 0);
    document.getElementById("n-chosen").textContent = `${n} chosen`;
    bar.querySelector("button").textContent = n === 1 ? "Papers like this" : "Papers like these";
  }

  function choose(tick) {
    if (under_way) { tick.checked = !tick.checked; return; }  // of hits that are about to go
    const most = Number(document.getElementById("bar").dataset.most);
    const full = tick.checked && chosen().length > most;
    if (full) tick.checked = false;
    count();
    carry();
    const words = document.getElementById("n-chosen");
    if (full) words.textContent = `At most ${most} can be chosen`;
    said.textContent = words.textContent;
  }

  function clear() {
    const bar = document.getElementById("bar");
    const last = ticked().pop();
    ticked().forEach((tick) => { tick.checked = false; });
    if (!("asked" in bar.dataset)) view().querySelectorAll('input[type="hidden"][name="like"]').forEach((field) => field.remove());
    count();
    carry();
    said.textContent = "No paper chosen";
    (last || main).focus({ preventScroll: true });  // the link that had the focus is gone
  }

  // The address and the links of this page with what is chosen. Where it is asked for, the address goes with the hits.
  function carry() {
    const ids = chosen();
    const withThem = (address) => {
      address.searchParams.delete("like");
      ids.forEach((id) => address.searchParams.append("like", id));
      return address.pathname + address.search + address.hash;
    };
    if (!("asked" in document.getElementById("bar").dataset)) history.replaceState(history.state, "", withThem(new URL(location)));
    for (const link of view().querySelectorAll('a[href^="/"]:not([data-own])')) {
      if (link.pathname in FRAGMENTS) link.setAttribute("href", withThem(new URL(link.href)));
    }
  }

  // ---- the address -------------------------------------------------------------------------------------------------

  // What a form means, in the same few words as the links of the page.
  function addressOf(alike) {
    const given = new FormData(form);
    const wanted = new URLSearchParams();
    const q = alike ? "" : String(given.get("q") || "").trim();
    for (const [name, value] of given) {
      if (name === "q" ? q || !given.get("like") : value && USUAL[name] !== value) wanted.append(name, name === "q" ? q : value);
    }
    return `/?${wanted}`;
  }

  function matchForm(search) {
    const wanted = new URLSearchParams(search);
    box.value = wanted.get("q") || "";
    const mode = form.querySelector(`input[name="mode"][value="${CSS.escape(wanted.get("mode") || "hybrid")}"]`);
    if (mode) mode.checked = true;
  }

  async function go(address, { focus = "heading" } = {}) {
    note();
    const to = new URL(address.replace(/\?$/, ""), location.origin);
    if (to.href === location.href) history.replaceState({ y: 0 }, "");
    else history.pushState({ y: 0 }, "", to);
    matchForm(to.search);
    if (!(await show(to.pathname, to.search))) return;
    if (focus === "box" || focus === "heading") window.scrollTo(0, 0);
    document.getElementById(focus)?.focus({ preventScroll: focus === "heading" });
  }

  // Where on the page one was belongs to each entry of the history: the browser restores it too early.
  let noting = 0;
  function note() {
    clearTimeout(noting);
    noting = 0;
    history.replaceState({ ...history.state, y: window.scrollY }, "");
  }
  window.addEventListener("scroll", () => { if (!noting && !under_way) noting = setTimeout(note, 200); }, { passive: true });

  window.addEventListener("popstate", async (event) => {
    clearTimeout(noting); noting = 0;
    matchForm(location.search);
    if (await show(location.pathname, location.search)) window.scrollTo(0, event.state?.y || 0);
  });

  // ---- what people do ----------------------------------------------------------------------------------------------

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const alike = event.submitter?.name === "go";
    go(addressOf(alike), { focus: event.submitter && !form.contains(event.submitter) ? "heading" : "box" });
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches(".choose input")) choose(event.target);
  });

  form.addEventListener("change", (event) => {
    if (event.target.name === "mode" && box.value.trim()) go(addressOf(), { focus: "" });
  });

  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.classList.contains("bibtex")) { event.preventDefault(); copy(link); return; }
    if (link.origin !== location.origin || !(link.pathname in FRAGMENTS) || link.classList.contains("skip")) return;
    event.preventDefault();
    if (link.classList.contains("clear")) { clear(); return; }
    const focus = link.hash ? link.hash.slice(1) : link.search || link.pathname !== "/" ? "heading" : "q";
    await go(link.pathname + link.search, { focus });
  });

  async function copy(link) {
    const words = link.firstChild;
    try {
      const answer = await ask(link.pathname);
      if (!answer.ok) throw new Error(String(answer.status));
      await navigator.clipboard.writeText(await answer.text());
      words.data = "Copied";
    } catch {
      words.data = "Not copied";
    }
    said.textContent = words.data;
    setTimeout(() => { words.data = "BibTeX"; }, 2000);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      box.focus();
      box.select();
      return;
    }
    if (event.key === "Enter" && event.target.matches(".choose input")) {  // else it would search
      event.preventDefault();
      event.target.click();
      return;
    }
    const all = hits();
    const at = all.indexOf(event.target.closest(".hit"));
    if (event.key === "ArrowDown" && (at >= 0 || event.target === box || event.target.id === "heading")) {
      move(event, all[at + 1]);
    } else if (event.key === "ArrowUp" && at >= 0) {
      move(event, at ? all[at - 1] : box);
    } else if (at >= 0 && event.target === all[at]) {
      onHit(event, all[at]);
    }
  });

  function move(event, to) {
    if (!to) return;
    event.preventDefault();
    to.focus({ preventScroll: true });
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    to.scrollIntoView({ block: to === box ? "center" : "nearest", behavior: calm ? "auto" : "smooth" });
  }

  function onHit(event, hit) {
    const abstract = hit.querySelector(".abstract");
    if (event.key === "Enter" && abstract) abstract.open = !abstract.open;
    else if (event.key === "o") hit.querySelector(".title")?.click();
    else if (event.key === "m") hit.querySelector(".alike").click();
    else if (event.key === "c") hit.querySelector(".choose input").click();
    else if (event.key === "Escape") box.focus();
    else return;
    event.preventDefault();
  }

  keyForm?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = document.getElementById("key");
    keep(field.value.trim());
    field.value = "";
    tried = true;
    if (await show(location.pathname, location.search)) box.focus();
  });

  // ---- at the start ------------------------------------------------------------------------------------------------

  history.scrollRestoration = "manual";
  document.querySelector(".keys").hidden = false;
  wide.addEventListener("change", () => prepare(false));
  prepare(false);
  if (view().dataset.kind === "locked") {
    matchForm(location.search);
    storedKey() ? ((tried = true), show(location.pathname, location.search)) : askForKey();
  } else if (history.state?.y) {
    window.scrollTo(0, history.state.y);
  }
})();
