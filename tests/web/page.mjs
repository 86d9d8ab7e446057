// The page of the web inbox in a browser: node page.mjs HTTP-BASE SMTP-HOST:PORT NODE_MODULES [PICTURES]
// Prints one line a step; ends with 1 if one fails.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { sender } from './smtp.mjs';

const [base, smtp, modules, pictures] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const send = (to, text) => sender(smtp, 'page.test')('ann@example.test', [to].flat(), text);

/** A session of SMTP that is typed line by line. */
function talk() {
  const [host, port] = smtp.split(/:(?=\d+$)/);
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  return new Promise((done) => socket.once('data', () => done({ say: (line) => socket.write(line + '\r\n') })));
}

const letter = (subject, body = 'Hello.', more = '') =>
  `From: Ann Lee <ann@example.test>\nTo: Alice <alice@example.test>\nSubject: ${subject}\n` +
  `Date: Fri, 20 Nov 2026 10:00:00 +0100\nMessage-ID: <${Math.random().toString(36).slice(2)}@example.test>\n${more}\n${body}\n`;

const multipart = (subject, parts) =>
  letter(subject, parts.map((part) => `--b\n${part}\n`).join('') + '--b--',
    'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n');

const EVIL_HTML = 'Content-Type: text/html; charset=utf-8\n\n' +
  '<h1>Sale</h1><p style="color:#0a6">Styled text.</p>' +
  '<script>document.title = "run"; top.document.title = "run"; fetch("/api/v1/messages", { method: "DELETE" })</script>' +
  '<img src="http://remote.example.test/pixel.png" onerror="top.document.title=\'run\'">' +
  '<link rel="stylesheet" href="http://remote.example.test/a.css"><iframe src="http://remote.example.test/"></iframe>' +
  '<form action="/api/v1/messages" method="post"><button>Go</button></form>' +
  '<svg onload="top.document.title=\'run\'"><script>top.document.title="run"</script></svg>' +
  '<math><mtext><script>top.document.title="run"</script><img src="http://remote.example.test/math.png" onerror="top.document.title=\'run\'"></mtext>' +
  '<maction actiontype="statusline" xlink:href="javascript:top.document.title=\'run\'" href="http://remote.example.test/maction">x</maction></math>' +
  '<style>@import "http://remote.example.test/import.css"; @import url(http://remote.example.test/import-url.css);' +
  ' @font-face { font-family: far; src: url(http://remote.example.test/font.woff2) } body { font-family: far; background: url(http://remote.example.test/back.png) }' +
  ' h1::after { content: url(http://remote.example.test/after.png) }</style>' +
  '<a id="away" href="http://remote.example.test/away">away</a><meta http-equiv="refresh" content="0;url=http://remote.example.test/">';

// Another host: it counts what reaches it.
let reached = [];
const remote = createServer((request, response) => {
  reached.push(request.url);
  response.end();
}).listen(0, '127.0.0.1');
await new Promise((done) => remote.once('listening', done));

const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', `--host-resolver-rules=MAP remote.example.test 127.0.0.1:${remote.address().port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true, args: flags });
const contexts = [];

/** A window, and what it asked of other hosts and complained about. */
async function open(path, { refuses = false, before, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, locale: 'en-GB', timezoneId: 'Europe/Paris', ...options });
  contexts.push(context);
  if (before) await context.addInitScript(before);
  const page = await context.newPage();
  page.asked = [];
  page.said = [];
  page.questions = [];
  page.on('dialog', (dialog) => {
    page.questions.push(dialog.message());
    return refuses ? dialog.dismiss() : dialog.accept();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith('data:')) page.asked.push(request.url());
  });
  page.on('pageerror', (error) => page.said.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.said.push(message.text()));
  await page.goto(base + path);
  return page;
}

const subjects = (page) => page.locator('#list .subject').allTextContents();
const row = (page, text) => page.locator('#list > li', { hasText: text });
const isList = (page, wanted) => page.waitForFunction(
  (wanted) => JSON.stringify([...document.querySelectorAll('#list .subject')].map((one) => one.textContent)) === wanted,
  JSON.stringify(wanted));
const picture = (page, name) => pictures && page.screenshot({ path: join(pictures, name + '.png') });

async function accessible(page, where) {
  // The rules run in the page; its policy forbids to add a script, so the debugger does.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map((node) => node.html.slice(0, 160))]), [], where);
  return violations.map(({ id, impact }) => `${id} (${impact})`);
}

const steps = {
  async 'mail appears without a reload, and the title counts it'() {
    const page = await open('/');
    assert.match(await page.locator('#end').textContent(), /No messages yet/);
    await page.evaluate(() => { window.sameDocument = true; });
    await send('alice@example.test', letter('first'));
    await isList(page, ['first']);
    assert.match(await page.title(), /^\(1\) All mail/);
    await send(['alice@example.test', 'bob@example.test'], letter('second'));
    await isList(page, ['second', 'first']);
    assert.match(await page.locator('#status').textContent(), /New message: Ann Lee, second/);
    assert.ok(await page.evaluate(() => window.sameDocument), 'no reload');
    assert.deepEqual(await page.locator('#inboxes bdi').allTextContents(), ['All mail', 'alice@example.test', 'bob@example.test']);
    assert.deepEqual([page.asked, page.said], [[], []]);
  },
  async 'nothing moves under the pointer until it leaves the list'() {
    const page = await open('/');
    await isList(page, ['second', 'first']);
    const target = row(page, 'second');
    await target.hover();
    const before = await target.boundingBox();
    await send('alice@example.test', letter('third'));
    await page.locator('#fresh button').waitFor();
    assert.deepEqual(await target.boundingBox(), before);
    assert.deepEqual(await subjects(page), ['second', 'first']);
    await page.locator('#search').hover();
    await isList(page, ['third', 'second', 'first']);
  },
  async 'opening marks as read, and the address can be shared'() {
    const page = await open('/box/alice@example.test/');
    await isList(page, ['third', 'second', 'first']);
    await row(page, 'first').locator('a').click();
    await page.locator('#message h2', { hasText: 'first' }).waitFor();
    assert.match(await page.locator('#form-text pre').textContent(), /Hello\./);
    await page.waitForFunction(() => /^\(2\)/.test(document.title));
    assert.equal(await page.locator('#list li.unread').count(), 2);
    const shared = await open(new URL(page.url()).pathname);
    assert.equal(await shared.locator('#message h2').textContent(), 'first');
    await page.goBack();
    await page.locator('.choose').first().waitFor();
    await page.locator('#list a').first().waitFor();
    assert.deepEqual([page.asked, page.said], [[], []]);
  },
  async 'search as you type'() {
    const page = await open('/');
    await page.keyboard.press('/');
    await page.keyboard.type('subject:second');
    await isList(page, ['second']);
    assert.match(page.url(), /\?query=subject%3Asecond$/);
    await page.locator('#search').fill('from:nobody@example.test');
    await isList(page, []);
    assert.match(await page.locator('#end').textContent(), /No message matches/);
    await page.locator('#search').fill('is:seen');
    await page.locator('#end', { hasText: 'is:seen: did you mean is:read?' }).waitFor();
    await page.locator('#search').fill('');
    await isList(page, ['third', 'second', 'first']);
  },
  async 'the keyboard alone'() {
    const page = await open('/');
    const focused = () => page.evaluate(() => document.activeElement.querySelector('.subject')?.textContent ?? document.activeElement.id);
    await page.keyboard.press('j');
    assert.equal(await focused(), 'third');
    const outline = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.ok(await page.evaluate(() => document.activeElement.matches(':focus-visible')));
    assert.equal(await outline(), 'solid', 'a focus that can be seen');
    await page.keyboard.press('j');
    assert.equal(await focused(), 'second');
    await page.keyboard.press('k');
    await page.keyboard.press('Enter');
    await page.locator('#message h2', { hasText: 'third' }).waitFor();
    await page.waitForFunction(() => document.activeElement.id === 'subject');
    await page.keyboard.press('j');
    await page.locator('#message h2', { hasText: 'second' }).waitFor();
    await page.locator('#tab-form-text').focus();
    await page.keyboard.press('ArrowRight');
    assert.equal(await page.locator('[role=tab][aria-selected=true]').textContent(), 'Headers');
    assert.match(await page.locator('#form-headers table').textContent(), /Subjectsecond/);
    await page.locator('#tab-form-source').click();
    await page.waitForFunction(() => /^Subject: second/m.test(document.querySelector('#form-source pre').textContent));
    await page.locator('#tab-form-origin').click();
    assert.match(await page.locator('#form-origin').textContent(), /page\.test.*ESMTP/s);
    assert.match(await page.locator('#form-origin .transcript').textContent(), /RCPT TO:.*RFC 5321.*Queued as/s);
    await page.keyboard.press('Delete');
    await isList(page, ['third', 'first']);
    assert.deepEqual(page.questions, ['Delete this message for good?']);
    await page.waitForFunction(() => document.activeElement.querySelector('.subject')?.textContent === 'first');
    assert.deepEqual([page.asked, page.said], [[], []]);
  },
  async 'HTML with scripts and remote content stays tame'() {
    await send('alice@example.test', multipart('sale', [EVIL_HTML,
      'Content-Type: application/pdf; name="plan.pdf"\nContent-Disposition: attachment; filename="plan.pdf"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK']));
    const page = await open('/');
    await row(page, 'sale').locator('a').click();
    await page.locator('#tab-form-html').click();
    const frame = page.frameLocator('#form-html iframe');
    await frame.locator('h1').waitFor();
    await page.waitForTimeout(400); // the time in which a script would have run: nothing tells that it did not
    assert.doesNotMatch(await page.title(), /run/);
    assert.deepEqual(reached, [], 'a request to another host');
    // A link opens a window, which knows nothing of this page, and the message stays where it is.
    const [away] = await Promise.all([page.waitForEvent('popup'), frame.locator('#away').click()]);
    await away.waitForURL('**/away');
    assert.deepEqual(await away.evaluate(() => [window.opener, document.referrer, typeof window.alert]), [null, '', 'function']);
    assert.equal(await frame.locator('h1').textContent(), 'Sale');
    await away.close();
    reached = reached.filter((path) => path !== '/away' && path !== '/favicon.ico');
    assert.ok((await subjects(page)).includes('third'), 'the script deleted nothing');
    await page.locator('#tab-form-parts').click();
    assert.match(await page.locator('#form-parts table').textContent(), /plan\.pdf.*application\/pdf/);
    const [file] = await Promise.all([page.waitForEvent('download'), page.locator('#form-parts a').first().click()]);
    assert.equal(file.suggestedFilename(), 'plan.pdf');
    const alone = await open('/view/latest.html');
    await alone.waitForTimeout(200); // as above
    assert.deepEqual(reached, []);
    await alone.goto('http://remote.example.test/seen');
    assert.equal(reached[0], '/seen', 'such a request would have been seen');
  },
  async 'remote images load when the reader asks, in the same sandbox'() {
    reached.length = 0;
    const page = await open('/');
    await row(page, 'sale').locator('a').click();
    await page.locator('#tab-form-html').click();
    const frame = page.frameLocator('#form-html iframe');
    await frame.locator('h1').waitFor();
    assert.deepEqual(reached, []);
    const [image] = await Promise.all([
      page.waitForRequest((request) => request.url().endsWith('/pixel.png')),
      page.locator('#form-html .button', { hasText: 'remote' }).click(),
    ]);
    await image.response();
    await frame.locator('h1').waitFor();
    await page.waitForTimeout(400); // as above
    assert.deepEqual(reached.toSorted(), ['/after.png', '/back.png', '/math.png', '/pixel.png'], 'images and nothing else: no style, no font');
    assert.ok(!image.headers().referer);
    assert.doesNotMatch(await page.title(), /run/);
    assert.equal(await page.locator('#form-html iframe').getAttribute('sandbox'), 'allow-popups allow-popups-to-escape-sandbox');
    assert.ok(page.url().includes('/message/'), 'the page stays where it is');
  },
  async 'sessions are shown line by line while they run'() {
    const page = await open('/sessions');
    await page.evaluate(() => { window.sameDocument = true; });
    const session = await talk();
    const code = (text) => page.locator('.transcript code').filter({ hasText: text }).first().waitFor();
    await page.locator('#title .badge').waitFor(); // it is open
    await code('220 ');
    session.say('EHLO <b>live</b>');
    await code('EHLO <b>live</b>');
    await code('250 HELP');
    assert.match(await page.locator('.transcript li.client').first().textContent(), /RFC 5321 section 4\.1\.1\.1/);
    session.say('AUTH LOGIN');
    await code('334 VXNlcm5hbWU6');
    session.say('YWxpY2U=');
    await code('334 UGFzc3dvcmQ6');
    session.say('dG9wc2VjcmV0');
    await code('235 ');
    const text = await page.locator('main').textContent();
    assert.doesNotMatch(text, /dG9wc2VjcmV0|topsecret/, 'no password');
    // The newest session is shown while the reader is at the end; one that was chosen stays.
    const first = await page.locator('#message').getAttribute('data-id');
    const next = await talk();
    await page.waitForFunction((first) => document.querySelector('#message').dataset.id !== first, first);
    await page.locator(`#s-${first} a`).click();
    await page.waitForURL(`**/sessions/${first}`);
    await code('EHLO <b>live</b>');
    session.say('QUIT');
    await page.locator(`#s-${first}.over`).waitFor();
    await code('221 ');
    next.say('QUIT');
    assert.equal(await page.locator('#message').getAttribute('data-id'), first);
    const shared = await open(new URL(page.url()).pathname, { javaScriptEnabled: false });
    assert.match(await shared.locator('.transcript').textContent(), /QUIT/, 'and without a script');
    assert.deepEqual([page.asked, page.said], [[], []]);
  },
  async 'nothing moves while somebody reads further up in a session'() {
    const session = await talk();
    const page = await open('/sessions', { viewport: { width: 1000, height: 420 } });
    for (let n = 0; n < 20; n += 1) session.say(`NOOP ${n}`);
    await page.locator('.transcript code').filter({ hasText: 'NOOP' }).nth(19).waitFor();
    const top = () => page.evaluate(() => document.querySelector('#message').scrollTop);
    await page.waitForFunction(() => { const box = document.querySelector('#message'); return box.scrollTop > 0 && box.scrollHeight - box.scrollTop - box.clientHeight < 60; });
    await page.evaluate(() => { document.querySelector('#message').scrollTop = 40; });
    session.say('RSET');
    await page.locator('.transcript code').filter({ hasText: 'RSET' }).waitFor();
    assert.equal(await top(), 40);
    const other = await talk();
    await page.locator('#fresh a').waitFor();
    assert.equal(await top(), 40);
    await page.locator('#fresh a').click();
    await page.waitForFunction(() => document.querySelector('.transcript').children.length < 5);
    session.say('QUIT');
    other.say('QUIT');
  },
  async 'a page that is refused is a page'() {
    const page = await open('/nothing', { locale: 'fr-FR' });
    assert.equal(await page.locator('h1').textContent(), 'Rien à cette adresse');
    await accessible(page, 'refusal');
    await picture(page, 'refusal');
    await page.locator('a').click();
    await page.locator('#list').waitFor();
  },
  async 'text from a stranger stays text'() {
    const evil = '"><script>top.document.title="run"</script><img src=x onerror=alert(1)>';
    await send('alice@example.test', letter(evil, evil).replace('Ann Lee', `"${evil.replace(/"/g, '\\"')}"`));
    const page = await open('/');
    await row(page, 'alert(1)').locator('a').click();
    await page.locator('#message h2').waitFor();
    assert.equal(await page.locator('#message h2').textContent(), evil);
    assert.equal(await page.locator('#message img, #list img, #message script').count(), 0);
    assert.deepEqual(page.said, []);
    await page.locator('[data-do=delete]').click();
    await page.waitForFunction(() => !document.querySelector('#list').textContent.includes('alert(1)'));
  },
  async 'without a script there are the list and the text'() {
    const page = await open('/', { javaScriptEnabled: false });
    assert.deepEqual(await subjects(page), ['sale', 'third', 'first']);
    await page.locator('#list a').last().click();
    assert.match(await page.locator('#form-text').innerText(), /Hello\./);
    assert.equal(await page.locator('button:visible').count(), 1, 'buttons that need a script are hidden');
    await page.locator('a.button', { hasText: 'Delete' }).click();
    await page.locator('strong', { hasText: 'Delete this message for good?' }).waitFor();
    await picture(page, 'asks');
    await page.locator('a', { hasText: 'Keep it' }).click();
    await page.locator('a.button', { hasText: 'Delete' }).click();
    await send('alice@example.test', letter('to go'));
    await page.goto(base + '/');
    await page.locator('#list a', { hasText: 'to go' }).click();
    await page.locator('a.button', { hasText: 'Delete' }).click();
    await page.locator('form.tools button').click();
    await page.waitForURL(base + '/');
    assert.deepEqual(await subjects(page), ['sale', 'third', 'first']);
    await page.goto(base + '/?query=subject:third');
    assert.deepEqual(await subjects(page), ['third']);
    await picture(page, 'without-script');
  },
  async 'delete one, some, all'() {
    for (const subject of ['four', 'five', 'six']) await send('carol@example.test', letter(subject));
    const careful = await open('/box/carol@example.test', { refuses: true });
    await row(careful, 'five').locator('input').check();
    await careful.keyboard.press('Delete');
    await careful.locator('#pick-all').check();
    await careful.locator('#delete-picked').click();
    assert.deepEqual(careful.questions, ['Delete this message for good?', 'Delete these 3 messages for good?']);
    await isList(careful, ['six', 'five', 'four']);
    await careful.close();
    const page = await open('/box/carol@example.test');
    await isList(page, ['six', 'five', 'four']);
    await row(page, 'five').locator('input').check();
    await page.keyboard.press('Delete');
    await isList(page, ['six', 'four']);
    await row(page, 'six').locator('a').click();
    await page.locator('[data-do=unread]').click();
    await page.waitForFunction(() => /^\(2\)/.test(document.title));
    await page.locator('#pick-all').check();
    await page.locator('#delete-picked').click();
    await isList(page, []);
    await send('carol@example.test', letter('seven'));
    await isList(page, ['seven']);
    await page.locator('#delete-all').click();
    await isList(page, []);
    const left = await open('/');
    assert.deepEqual(await subjects(left), ['sale', 'third', 'first'], 'the other inboxes are whole');
  },
  async 'three widths, dark and light, two languages; no serious fault of accessibility'() {
    assert.ok((await fetch(base + '/api/v1/messages', { method: 'DELETE' })).ok);
    const by = (name, text) => text.replace('Ann Lee', name);
    await send('alice@example.test', letter('Lunch on Thursday', 'Are you free at noon?'));
    await send('bob@example.test', by('Build 4711', letter('The build has passed', '312 tests, 0 failures.')));
    await send('alice@example.test', by('The Printer', multipart('Your scan', ['Content-Type: text/plain\n\nThe page is attached.',
      'Content-Type: application/pdf; name="scan.pdf"\nContent-Disposition: attachment; filename="scan.pdf"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK'])));
    await send(['elodie@example.test', 'alice@example.test'], letter('=?utf-8?q?R=C3=A9union_de_jeudi_:_plan_de_la_salle?=',
      'Bonjour,\n\nvoici le plan : https://plans.example.test/salle?jour=jeudi\n\nÉlodie', 'Content-Type: text/plain; charset=utf-8\n').replace('Ann Lee', '=?utf-8?q?=C3=89lodie_Durand?='));
    await send('bob@example.test', letter('Your code is 4711', 'Use the code 4711 within ten minutes, or open\nhttps://shop.example.test/confirm?code=4711\n').replace('Ann Lee', 'The Shop'));
    const minor = new Set();
    for (const width of [360, 800, 1400]) {
      for (const colorScheme of ['light', 'dark']) {
        const locale = colorScheme === 'dark' ? 'fr-FR' : 'en-GB';
        const page = await open('/', { viewport: { width, height: width === 360 ? 740 : 860 }, colorScheme, locale });
        assert.equal(await page.locator('html').getAttribute('lang'), locale.slice(0, 2));
        const name = `${width}-${colorScheme}`;
        const narrow = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
        assert.ok(await narrow(), `${name}: the list is wider than the window`);
        const scan = row(page, 'Your scan');
        assert.match(await scan.locator('.clip').getAttribute('title'), /^1 (attachment|pièce jointe)$/);
        assert.match(await scan.locator('.size').textContent(), /^\d+([.,]\d)? (B|KiB|o|Kio|bytes|octets)$/);
        assert.match(await scan.locator('time').getAttribute('datetime'), /^20\d\d-\d\d-\d\dT.*Z$/);
        assert.ok((await scan.locator('time').textContent()).trim(), 'a time is shown');
        (await accessible(page, `${name} list`)).forEach((one) => minor.add(one));
        await picture(page, `${name}-list`);
        await row(page, 'salle').locator('a').click();
        await page.locator('#message h2', { hasText: 'salle' }).waitFor();
        if (colorScheme === 'dark') assert.equal(await page.locator('#tab-form-headers').textContent(), 'En-têtes');
        await picture(page, `${name}-message`);
        for (const form of ['text', 'headers', 'parts', 'source', 'origin']) {
          await page.locator(`#tab-form-${form}`).click();
          if (form === 'source') await page.locator('#form-source pre').waitFor();
          assert.ok(await narrow(), `${name}: ${form} is wider than the window`);
          (await accessible(page, `${name} ${form}`)).forEach((one) => minor.add(one));
        }
        await picture(page, `${name}-origin`);
        const session = await talk();
        session.say('EHLO class.test');
        session.say('MAIL FROM:<ann@example.test>');
        session.say('RCPT TO:<bob@example.test>');
        session.say('VRFY');
        await page.goto(base + '/sessions');
        await page.locator('.transcript code').filter({ hasText: /^VRFY$/ }).waitFor();
        assert.ok(await narrow(), `${name}: sessions are wider than the window`);
        (await accessible(page, `${name} sessions`)).forEach((one) => minor.add(one));
        await picture(page, `${name}-sessions`);
        session.say('QUIT');
        assert.deepEqual([page.asked, page.said], [[], []]);
        await page.context().close();
      }
    }
    await send('alice@example.test', multipart('sale', [EVIL_HTML]));
    const page = await open('/');
    await row(page, 'sale').locator('a').click();
    await page.locator('#tab-form-html').click();
    await page.frameLocator('#form-html iframe').locator('h1').waitFor();
    await picture(page, '1400-light-html');
    (await accessible(page, 'HTML')).forEach((one) => minor.add(one));
    const { pathname } = new URL(page.url());
    await page.goto(`${base}${pathname}/delete`);
    await page.locator('form[method=post]').first().waitFor();
    (await accessible(page, 'the question before a deletion')).forEach((one) => minor.add(one));
    if (minor.size) console.log('  minor:', [...minor].join(', '));
  },

  async 'Delete all means the list that is shown, whatever stands in the search meanwhile'() {
    for (const subject of ['to keep', 'to lose']) await send('dan@example.test', letter(subject));
    const page = await open('/box/dan@example.test?query=subject:lose');
    await isList(page, ['to lose']);
    await page.evaluate(() => {
      const search = document.querySelector('#search');
      search.value = '';
      search.dispatchEvent(new Event('input', { bubbles: true }));
      document.querySelector('#delete-all').click();
    });
    await isList(page, ['to keep']);
    assert.deepEqual([page.asked, page.said], [[], []]);
  },
  async 'mail that comes without a pause is shown while it comes'() {
    // The server tells of a change each 10 ms, and never stops.
    const page = await open('/box/flow@example.test', { before: () => {
      window.EventSource = class extends EventTarget {
        constructor() {
          super();
          setInterval(() => this.dispatchEvent(new MessageEvent('update', { data: '{"Data":{}}' })), 10);
        }
      };
    } });
    await send('flow@example.test', letter('in the flow'));
    await isList(page, ['in the flow']);
    // Beyond the end of the list there are messages all the same.
    const beyond = await open('/box/flow@example.test?start=100000');
    assert.match(await beyond.locator('#end').textContent(), /This part of the list is empty/);
    await beyond.locator('#end a').click();
    await isList(beyond, ['in the flow']);
    await beyond.locator('#delete-all').click();
    await isList(page, []);
    // A list that comes late is not shown in the place of another one.
    let release;
    const late = new Promise((done) => { release = done; });
    const isOfFlow = (url) => url.pathname === '/box/flow@example.test';
    await page.route(isOfFlow, (route) => late.then(() => route.continue()));
    await page.waitForRequest((request) => isOfFlow(new URL(request.url())));
    await page.locator('#inboxes a', { hasText: 'All mail' }).click();
    await page.locator('#messages-title', { hasText: 'All mail' }).waitFor();
    const next = page.waitForResponse((response) => new URL(response.url()).pathname === '/');
    release();
    await next;
    assert.equal(await page.locator('#messages-title').textContent(), 'All mail');
    assert.deepEqual([page.asked, page.said], [[], []]);
  },

  'many inboxes scroll in their pane, and a page that is refused has one column': async () => {
    await send(Array.from({ length: 60 }, (_, n) => `inbox${n}@example.test`), letter('to many'));
    const page = await open('/');
    await page.locator('#inboxes a', { hasText: 'inbox59' }).waitFor();
    const [height, window] = await page.evaluate(() => [document.documentElement.scrollHeight, innerHeight]);
    assert.equal(height, window, 'the page itself does not scroll');
    const refused = await open('/nothing');
    assert.equal(await refused.locator('main').evaluate((main) => getComputedStyle(main).display), 'block');
  },
};

let failures = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log('ok', name);
  } catch (error) {
    failures += 1;
    console.log('FAILED', name, '\n', error.stack);
    if (pictures) await contexts.at(-1)?.pages().at(-1)?.screenshot({ path: join(pictures, `failed-${failures}.png`) }).catch(() => {});
  }
  for (const context of contexts.splice(0)) await context.close().catch(() => {});
}
await browser.close();
remote.close();
process.exit(failures ? 1 : 0);
