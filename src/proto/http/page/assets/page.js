// The page of the web inbox, live. It loads the page of the server again and exchanges regions of it, so no HTML is made
// here, and what the server has escaped stays escaped.
'use strict';
(() => {
  const body = document.body, words = body.dataset;
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const policy = window.trustedTypes && trustedTypes.createPolicy('page', { createHTML: (text) => text });
  const list = one('#list'), search = one('#search'), status = one('#status'), fresh = one('#fresh');
  // The reader's region, such as en-GB, if the page is in that language.
  const locale = navigator.language.split('-')[0] === document.documentElement.lang ? navigator.language : document.documentElement.lang;
  const canHover = matchMedia('(hover: hover)');
  const wide = matchMedia('(min-width: 1080px)');
  // The server's markup of each row, for comparison.
  const marks = new WeakMap();
  // A list that waits until the pointer leaves the one on the screen.
  let held = null;
  // The inbox that was brought into sight last.
  let shownInbox = null;
  let listAddress = body.classList.contains('view-list') ? location.pathname + location.search : addressOfList();

  function addressOfList() {
    const start = new URLSearchParams(location.search).get('start');
    return listOf(search.value, start);
  }

  function listOf(text, start) {
    const words = new URLSearchParams();
    if (text.trim()) words.set('query', text.trim());
    if (start) words.set('start', start);
    const query = words.toString();
    return body.dataset.base + (query && '?' + query);
  }

  function say(text) {
    status.textContent = text;
  }

  // Requests

  async function load(address, signal) {
    const response = await fetch(address, { signal, headers: { Accept: 'text/html' } });
    // The page says itself that a message is not there.
    if (!response.ok && response.status !== 404) throw new Error(response.status);
    const text = await response.text();
    const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, 'text/html');
    prepare(page);
    return page;
  }

  async function change(method, path, content) {
    const response = await fetch(words.base + path, {
      method,
      body: content && JSON.stringify(content),
      headers: content ? { 'Content-Type': 'application/json' } : {},
    });
    if (!response.ok) throw new Error(response.status);
  }

  // Regions

  /** Makes a page of the server ready for a reader with a script. */
  function prepare(page) {
    for (const row of all('#list > li', page)) marks.set(row, row.outerHTML);
    for (const time of all('time', page)) localize(time);
    for (const tool of all('.scripted', page)) tool.hidden = false;
    const message = one('#message', page);
    if (one('.forms', message)) makeTabs(page, message);
  }

  function localize(time) {
    const date = new Date(time.dateTime), now = new Date();
    if (isNaN(date)) return;
    const whole = date.toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'medium' });
    if (!time.closest('#list')) {
      time.textContent = whole;
      return;
    }
    const isToday = date.toDateString() === now.toDateString();
    time.title = whole;
    time.textContent = date.toLocaleString(locale,
      isToday ? { timeStyle: 'short' } : date.getFullYear() === now.getFullYear()
        ? { day: 'numeric', month: 'short' } : { dateStyle: 'short' });
  }

  /** Exchanges all but the message. */
  function showList(page, force) {
    document.title = page.title;
    body.dataset.base = page.body.dataset.base;
    exchange('#inboxes ul', page);
    showInbox();
    exchange('#count', page);
    exchange('#messages-title', page);
    const rows = all('#list > li', page);
    const ids = new Set(rows.map((row) => row.id));
    const shown = new Set([...list.children].map((row) => row.id));
    const fresh = rows.filter((row) => !shown.has(row.id)).length;
    const moves = fresh || [...list.children].some((row) => !ids.has(row.id));
    if (moves && !force && isUnderPointer()) {
      held = page;
      showFresh(fresh);
      // Rows that stay may change, because they keep their places.
      for (const row of rows) if (shown.has(row.id)) update(document.getElementById(row.id), row);
      return;
    }
    held = null;
    showFresh(0);
    exchange('#end', page);
    merge(rows, ids);
    countPicked();
    markOpen();
  }

  /** On a narrow window the inboxes are a line: the one that is open stays in sight. */
  function showInbox() {
    const inboxes = one('#inboxes ul'), open = one('[aria-current]', inboxes);
    if (!open || shownInbox === open.getAttribute('href')) return;
    shownInbox = open.getAttribute('href');
    const line = inboxes.getBoundingClientRect(), box = open.getBoundingClientRect();
    if (box.left < line.left || box.right > line.right) inboxes.scrollLeft += box.left - line.left - 8;
  }

  function exchange(selector, page) {
    const old = one(selector), now = one(selector, page);
    if (old.innerHTML === now.innerHTML) return;
    const focused = old.contains(document.activeElement) && document.activeElement.getAttribute('href');
    old.replaceChildren(...now.childNodes);
    const again = focused && all('a', old).find((link) => link.getAttribute('href') === focused);
    if (again) again.focus({ preventScroll: true });
  }

  function merge(rows, ids) {
    const scroller = wide.matches || innerWidth >= 720 ? one('#messages') : document.scrollingElement;
    const anchor = [...list.children].find((row) => ids.has(row.id) && row.getBoundingClientRect().bottom > 0);
    const before = anchor && scroller.scrollTop > 0 && anchor.getBoundingClientRect().top;
    let focus = document.activeElement.closest && document.activeElement.closest('#list > li');
    if (focus && !ids.has(focus.id)) {
      const later = [...list.children].slice([...list.children].indexOf(focus) + 1);
      const next = later.find((row) => ids.has(row.id)) || [...list.children].reverse().find((row) => ids.has(row.id));
      (next ? one('a', next) : one('#messages-title')).focus();
    }
    for (const row of [...list.children]) if (!ids.has(row.id)) row.remove();
    rows.forEach((row, at) => {
      let here = document.getElementById(row.id);
      if (here) update(here, row); else here = row;
      if (list.children[at] !== here) list.insertBefore(here, list.children[at] || null);
    });
    if (typeof before === 'number') scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  function update(here, row) {
    if (marks.get(here) === marks.get(row)) return;
    marks.set(here, marks.get(row));
    here.className = row.className;
    const link = one('a', here), now = one('a', row);
    link.href = now.getAttribute('href');
    link.replaceChildren(...now.childNodes);
  }

  function isUnderPointer() {
    return canHover.matches && list.matches(':hover');
  }

  function showFresh(number) {
    fresh.hidden = !number;
    one('button', fresh).textContent = number === 1 ? words.one : words.many.replace('{n}', number);
  }

  function showHeld() {
    if (held) showList(held, true);
  }

  function showMessage(page) {
    body.classList.remove('view-list', 'view-message');
    body.classList.add(page.body.classList.contains('view-message') ? 'view-message' : 'view-list');
    one('#message').replaceWith(one('#message', page));
    one('#message').scrollTop = 0;
    markOpen();
  }

  function openId() {
    return one('#message').dataset.id;
  }

  function markOpen() {
    for (const link of all('#list a[aria-current]')) link.removeAttribute('aria-current');
    const row = openId() && rowOf(openId());
    if (row) one('a', row).setAttribute('aria-current', 'true');
  }

  function rowOf(id) {
    return document.getElementById('m-' + id);
  }

  // Forms of a message, as tabs

  function makeTabs(page, message) {
    const forms = one('.forms', message), sections = all('section', forms);
    const tabs = page.createElement('div');
    tabs.setAttribute('role', 'tablist');
    tabs.setAttribute('aria-label', forms.dataset.label);
    for (const section of sections) {
      const title = one('h3', section), tab = page.createElement('button');
      tab.type = 'button';
      tab.id = 'tab-' + section.id;
      tab.textContent = title.textContent;
      tab.setAttribute('role', 'tab');
      tab.setAttribute('aria-controls', section.id);
      title.className = 'hidden';
      section.setAttribute('role', 'tabpanel');
      section.setAttribute('aria-labelledby', tab.id);
      tabs.append(tab);
    }
    forms.prepend(tabs);
    const chosen = sections.find((section) => section.id === recall()) || sections[0];
    choose(forms, chosen.id);
  }

  function choose(forms, id) {
    for (const tab of all('[role=tab]', forms)) {
      const isChosen = tab.getAttribute('aria-controls') === id;
      tab.setAttribute('aria-selected', isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
    }
    for (const section of all('section', forms)) section.hidden = section.id !== id;
    const source = one('#' + id + ' pre[data-from]', forms);
    if (source && source.hidden) showSource(source);
  }

  async function showSource(source) {
    try {
      const response = await fetch(source.dataset.from);
      if (!response.ok) throw new Error(response.status);
      const reader = response.body.getReader(), decoder = new TextDecoder();
      let text = '';
      // A long one is shown in part; the link below leads to the whole.
      while (text.length < 1 << 20) {
        const { done, value } = await reader.read();
        if (done) break;
        text += decoder.decode(value, { stream: true });
      }
      reader.cancel();
      source.textContent = text.slice(0, 1 << 20);
      source.hidden = false;
    } catch {
      say(words.failed);
    }
  }

  function recall() {
    try { return sessionStorage.getItem('form'); } catch { return null; }
  }

  function remember(id) {
    try { sessionStorage.setItem('form', id); } catch { /* the choice lasts for this message */ }
  }

  // Actions

  let visit = null;

  /** Goes to an address of this page. */
  async function go(address, { push = true, focus = true } = {}) {
    if (visit) visit.abort();
    visit = new AbortController();
    try {
      const page = await load(address, visit.signal);
      if (push) history.pushState(null, '', address);
      const hasList = one('#messages', page) && page.body.classList.contains('view-list');
      search.value = one('#search', page).value;
      one('[role=search]').action = page.body.dataset.base;
      const isOther = hasList && listAddress !== address;
      if (hasList) listAddress = address;
      showMessage(page);
      showList(page, true);
      if (isOther) toTop();
      if (!hasList) listAddress = addressOfList();
      if (focus) (one('#subject') || one('#messages-title')).focus({ preventScroll: hasList });
    } catch (error) {
      if (error.name !== 'AbortError') say(words.failed);
    }
  }

  function toTop() {
    one('#messages').scrollTop = 0;
    scrollTo(0, 0);
  }

  let running = Promise.resolve(), next = null, loading = null, mustShow = false;

  /**
   * Loads the list, after the load that runs now: that one may lack the last change. So mail that comes without a pause is
   * shown while it comes. `force`: the reader asked for the change, so it is shown under the pointer too.
   */
  function refresh(force) {
    mustShow ||= force;
    next ||= running.then(() => {
      running = next;
      next = null;
      return reload();
    });
    return next;
  }

  async function reload() {
    const address = listAddress;
    loading = new AbortController();
    try {
      const page = await load(address, loading.signal);
      // The reader may have left for another list.
      if (address !== listAddress) return;
      showList(page, mustShow);
      mustShow = false;
    } catch (error) {
      if (error.name !== 'AbortError') say(words.lost);
    }
  }

  let timer = 0;

  function refreshSoon() {
    timer ||= setTimeout(() => {
      timer = 0;
      refresh(false);
    }, 60);
  }

  function picked() {
    return all('#list input:checked').map((box) => box.closest('li').dataset.id);
  }

  function countPicked() {
    const number = picked().length, rows = list.children.length;
    one('#delete-picked').disabled = !number;
    one('#delete-all').disabled = !rows;
    const box = one('#pick-all');
    box.checked = rows > 0 && number === rows;
    box.indeterminate = number > 0 && number < rows;
    box.disabled = !rows;
  }

  async function act(promise, said) {
    try {
      await promise;
      await refresh(true);
      if (said) say(said);
    } catch {
      say(words.failed);
    }
  }

  async function remove(ids) {
    if (!ids.length || !confirm(ids.length > 1 ? words.sures.replace('{n}', ids.length) : words.sure)) return;
    const isOpen = ids.includes(openId());
    const rows = [...list.children];
    const at = rows.findIndex((row) => row.dataset.id === ids[0]);
    const left = (row) => !ids.includes(row.dataset.id);
    const next = rows.slice(at + 1).find(left) || rows.slice(0, Math.max(at, 0)).reverse().find(left);
    await act(change('DELETE', 'api/v1/messages', { IDs: ids }), words.deleted);
    if (isOpen) {
      await go(listAddress, { focus: false });
      say(words.deleted);
      (next && next.isConnected ? one('a', next) : one('#messages-title')).focus();
    }
  }

  async function removeAll() {
    const number = one('#count').textContent.match(/\d+/);
    if (!confirm(words.all.replace('{n}', number ? number[0] : ''))) return;
    // The search of the list that the reader sees, and not the words that are being typed.
    const query = new URL(listAddress, location).searchParams.get('query');
    const path = query ? 'api/v1/search?query=' + encodeURIComponent(query) : 'api/v1/messages';
    await act(change('DELETE', path), words.deleted);
    if (openId() && !rowOf(openId())) await go(listAddress, { focus: false });
    one('#messages-title').focus();
  }

  function step(by) {
    const rows = [...list.children];
    const focused = document.activeElement.closest && document.activeElement.closest('#list > li');
    const current = focused || (openId() && rowOf(openId()));
    const next = current ? rows[rows.indexOf(current) + by] : rows[by > 0 ? 0 : rows.length - 1];
    if (!next) return;
    if (openId() && !focused) {
      go(one('a', next).getAttribute('href'));
    } else {
      one('a', next).focus();
      next.scrollIntoView({ block: 'nearest' });
    }
  }

  // What the reader does

  document.addEventListener('click', (event) => {
    const plain = !event.button && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    const link = event.target.closest('#list a, #inboxes a, #end a, .back a, .brand a');
    if (link && plain) {
      event.preventDefault();
      go(link.getAttribute('href'));
      return;
    }
    const tab = event.target.closest('[role=tab]');
    if (tab) {
      remember(tab.getAttribute('aria-controls'));
      choose(tab.closest('.forms'), tab.getAttribute('aria-controls'));
    }
    const button = event.target.closest('[data-do]');
    if (button && button.dataset.do === 'delete') remove([openId()]);
    if (button && button.dataset.do === 'unread') act(change('PUT', 'api/v1/messages', { IDs: [openId()], Read: false }));
  });
  one('#delete-picked').addEventListener('click', () => remove(picked()));
  one('#delete-all').addEventListener('click', removeAll);
  one('#pick-all').addEventListener('change', (event) => {
    for (const box of all('#list input')) box.checked = event.target.checked;
    countPicked();
  });
  list.addEventListener('change', countPicked);
  list.addEventListener('pointerleave', showHeld);
  one('button', fresh).addEventListener('click', () => {
    showHeld();
    toTop();
    if (list.firstElementChild) one('a', list.firstElementChild).focus();
  });

  let typing = 0;

  function find() {
    clearTimeout(typing);
    say('');
    listAddress = listOf(search.value);
    if (loading) loading.abort();
    history.replaceState(null, '', listAddress);
    body.classList.replace('view-message', 'view-list');
    refresh(true);
  }

  search.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(find, 180);
  });
  one('[role=search]').addEventListener('submit', (event) => {
    event.preventDefault();
    find();
  });

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tab = event.target.closest && event.target.closest('[role=tab]');
    if (tab && ['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key)) {
      const tabs = all('[role=tab]', tab.parentElement), at = tabs.indexOf(tab);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
      const next = tabs[(to + tabs.length) % tabs.length];
      next.click();
      next.focus();
      event.preventDefault();
      return;
    }
    if (event.target === search) {
      if (event.key === 'Escape' && !search.value) search.blur();
      return;
    }
    if (event.target.matches && event.target.matches('input:not([type=checkbox])')) return;
    if (event.key === 'j') step(1);
    else if (event.key === 'k') step(-1);
    else if (event.key === '/') search.select();
    else if (event.key === 'Delete') {
      const row = document.activeElement.closest('#list > li');
      remove(picked().length ? picked() : row ? [row.dataset.id] : openId() ? [openId()] : []);
    } else return;
    event.preventDefault();
  });

  addEventListener('popstate', () => go(location.pathname + location.search, { push: false, focus: false }));

  // Changes, as the server tells them

  const events = new EventSource('/api/events');
  let wasLost = false;
  events.onopen = () => {
    if (wasLost) say('');
    wasLost = false;
    refreshSoon();
  };
  events.onerror = () => {
    wasLost = true;
    say(words.lost);
  };
  for (const kind of ['new', 'update', 'delete', 'prune']) {
    events.addEventListener(kind, (event) => {
      const data = JSON.parse(event.data).Data;
      if (kind === 'new') {
        const sender = data.From && (data.From.Name || data.From.Address);
        say(words.from + ': ' + [sender, data.Subject].filter(Boolean).join(', '));
      }
      if (kind === 'delete' && data.ID === openId()) say(words.gone);
      refreshSoon();
    });
  }
  addEventListener('pagehide', () => events.close());
  addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload();
  });

  prepare(document);
  showInbox();
  body.classList.add('scripted-page');
  countPicked();
})();
