// The page of sessions, live. The server tells that there are new lines, and this script loads the page again from the
// first line that it does not have. No HTML is made here, so text that the server has escaped stays escaped.
'use strict';
(() => {
  const body = document.body;
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const policy = window.trustedTypes && trustedTypes.createPolicy('page', { createHTML: (text) => text });
  const locale = navigator.language.split('-')[0] === document.documentElement.lang ? navigator.language : document.documentElement.lang;
  const canHover = matchMedia('(hover: hover)');
  const list = one('#list'), status = one('#status'), fresh = one('#fresh');
  const follows = location.pathname === '/sessions';
  let heldRows = null;

  async function load(from) {
    const response = await fetch(location.pathname + '?from=' + from, { headers: { Accept: 'text/html' } });
    // The page says itself that a session is gone.
    if (!response.ok && response.status !== 404) throw new Error(response.status);
    const text = await response.text();
    const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, 'text/html');
    prepare(page);
    return page;
  }

  function prepare(page) {
    for (const time of all('time', page)) {
      const date = new Date(time.dateTime);
      time.title = date.toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'medium' });
      time.textContent = date.toLocaleTimeString(locale, { timeStyle: 'medium' });
    }
  }

  // The reader follows the end while it is on the screen.
  const scroller = () => innerWidth >= 720 ? one('#message') : document.scrollingElement;
  const isAtEnd = () => {
    const box = scroller();
    return box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  };
  const toEnd = () => { scroller().scrollTop = scroller().scrollHeight; };

  let isBusy = false, isAsked = false;

  async function refresh() {
    isAsked = true;
    if (isBusy) return;
    isBusy = true;
    try {
      while (isAsked) {
        isAsked = false;
        const lines = all('.transcript > li').length;
        const page = await load(lines);
        const isSame = one('#message', page).dataset.id === one('#message').dataset.id;
        // The newest session is another one now, so the page lacks its first lines.
        show(isSame || !lines ? page : await load(0));
        if (isAsked) await new Promise((done) => setTimeout(done, 150));
      }
      say('');
    } catch {
      say(body.dataset.lost);
      setTimeout(refresh, 2000);
    }
    isBusy = false;
  }

  function show(page) {
    const now = one('#message', page), old = one('#message');
    one('#count').textContent = one('#count', page).textContent;
    showRows(all('#list > li', page));
    const ended = isAtEnd();
    if (now.dataset.id !== old.dataset.id) {
      // Nobody who reads further up is taken away from there.
      fresh.hidden = ended || !old.dataset.id;
      if (!fresh.hidden) return;
      old.replaceWith(now);
      toEnd();
      return;
    }
    fresh.hidden = true;
    if (!now.dataset.id) return;
    one('#title').replaceChildren(...one('#title', page).childNodes);
    one('.transcript').append(...one('.transcript', page).childNodes);
    const note = one('.transcript + .note', page);
    if (note && !one('.transcript + .note')) one('.transcript').after(note);
    if (ended) toEnd();
  }

  /** Rows keep their places while the pointer is over them. */
  function showRows(rows) {
    const known = (row) => document.getElementById(row.id);
    heldRows = canHover.matches && list.matches(':hover') && rows.some((row) => !known(row)) ? rows : null;
    if (heldRows) {
      for (const row of rows) if (known(row)) update(known(row), row);
      return;
    }
    const ids = new Set(rows.map((row) => row.id));
    for (const row of [...list.children]) if (!ids.has(row.id)) row.remove();
    rows.forEach((row, at) => {
      const here = known(row) || row;
      if (here !== row) update(here, row);
      if (list.children[at] !== here) list.insertBefore(here, list.children[at] || null);
    });
  }

  function update(here, row) {
    here.className = row.className;
    const link = one('a', here), now = one('a', row);
    if (link.innerHTML !== now.innerHTML) link.replaceChildren(...[...now.childNodes].map((node) => node.cloneNode(true)));
  }

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  list.addEventListener('pointerleave', () => { if (heldRows) showRows(heldRows); });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !['j', 'k'].includes(event.key)) return;
    const links = all('a', list), at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? 0 : at + (event.key === 'j' ? 1 : -1)];
    if (next) next.focus();
    event.preventDefault();
  });

  prepare(document);
  if (follows) toEnd();
  if (!body.dataset.live) return;
  const events = new EventSource('/sessions/events');
  events.onopen = refresh;
  events.addEventListener('sessions', refresh);
  events.onerror = () => say(body.dataset.lost);
  addEventListener('pagehide', () => events.close());
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
})();
