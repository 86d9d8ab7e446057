// The clients of MailHog, unchanged: node mailhog.mjs HTTP-BASE SMTP-HOST:PORT NODE_MODULES
// Prints one line a step; ends with 1 if one fails.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { sender } from './smtp.mjs';

const [base, smtp, modules] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), 'x.js'));
const send = sender(smtp);
const { hostname: host, port } = new URL(base);

const letter = (to, subject, body = 'text content', more = 'Content-Type: text/plain') =>
  `Date: Sun, 23 Oct 2016 20:59:40 +0200\nFrom: Test <test@example.org>\nTo: ${to}\nSubject: ${subject}\n${more}\n\n${body}\n`;

// The forms that the suite of npm's mailhog sends: multipart with files, base64, Latin 1, and no charset.
const MULTIPART = letter('=?utf-8?Q?=C3=BC?= <u@example.org>', '=?utf-8?Q?=C3=BC=C3=A4=C3=B6?=', [
  'This is a message with multiple parts in MIME format.', '--next',
  'Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: quoted-printable', '', '=C3=BC', '=C3=A4=C3=B6', '--next',
  'Content-Type: text/html; charset=utf-8', 'Content-Transfer-Encoding: quoted-printable', '', '<strong>=C3=BC</strong>', '--next',
  'Content-Transfer-Encoding: base64', 'Content-Type: image/gif', 'Content-Disposition: attachment; filename="black.gif"', '',
  'R0lG', 'ODdh', '--next',
  'Content-Transfer-Encoding: base64', 'Content-Type: application/pdf', 'Content-Disposition: attachment; filename=sample.pdf', '',
  'UERG', '--next--',
].join('\n'), 'Content-Type: multipart/mixed; boundary=next');
const JAPANESE = letter('=?utf-8?B?5pel5pys?= <nihon@example.org>', '=?utf-8?B?5pel5pys?=', '5pel5pysCg==',
  'Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\nCc: =?utf-8?B?5pel5pys?= <cc@example.org>\n' +
  'Bcc: bcc@example.org\nReply-To: =?utf-8?B?5pel5pys?= <reply-to@example.org>');
const LATIN = letter('ISO-8859-1 <latin@example.org>', 'ISO-8859-1', '=FC=E4=F6=',
  'Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=ISO-8859-1');
const PLAIN = letter('no-charset@example.org', 'Mail without charset');

async function sendAll() {
  await send('test@example.org', ['u@example.org'], MULTIPART);
  await send('test@example.org', ['nihon@example.org', 'cc@example.org', 'bcc@example.org'], JAPANESE);
  await send('test@example.org', ['latin@example.org'], LATIN);
  await send('test@example.org', ['no-charset@example.org'], PLAIN);
}

/** cypress-mailhog in the place of its host: its requests are made as Cypress makes them, its commands are called one by one. */
function cypressMailhog(mailHogUrl) {
  class Chain extends Promise {
    its(name) { return this.then((value) => value[name]); }
    should(what, expected) {
      return this.then((value) => {
        if (what === 'not.have.length') assert.notEqual(value.length, expected);
        else if (what === 'to.have.length.greaterThan') assert.ok(value.length > expected);
        else assert.fail(what);
        return value;
      });
    }
  }
  const cy = {
    request: ({ method, url, failOnStatusCode = true }) => Chain.resolve().then(async () => {
      const response = await fetch(url, { method, headers: { accept: '*/*', 'user-agent': 'Cypress' } });
      if (failOnStatusCode && !response.ok) throw new Error(`${method} ${url}: ${response.status}`);
      const text = await response.text();
      const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
      return { status: response.status, body: isJson ? JSON.parse(text) : text };
    }),
    verifyUpcomingAssertions: (value) => value,
    wrap: (value) => Chain.resolve(value),
  };
  globalThis.cy = cy;
  globalThis.Cypress = {
    env: (name) => ({ mailHogUrl }[name]),
    config: () => undefined,
    Commands: { add: (name, ...rest) => { cy[name] = (...given) => Chain.resolve(rest.at(-1)(...given)); } },
  };
  const source = require.resolve('cypress-mailhog');
  delete require.cache[source];
  require(source);
  return cy;
}

const steps = {
  async "npm's mailhog lists, decodes and pages"() {
    const mailhog = require('mailhog')({ host, port });
    assert.equal((await mailhog.deleteAll()).statusCode, 200);
    assert.deepEqual([(await mailhog.messages()).total, await mailhog.latestTo('x')], [0, 0]);
    await sendAll();
    const all = await mailhog.messages();
    assert.deepEqual([all.total, all.count, all.start], [4, 4, 0]);
    assert.deepEqual(all.items.map((item) => item.subject), ['Mail without charset', 'ISO-8859-1', '日本', 'üäö']);
    const last = await mailhog.messages(3, 1);
    assert.deepEqual([last.count, last.items[0].subject], [1, 'üäö']);
    const multipart = await mailhog.latestTo('u@example.org');
    assert.deepEqual([multipart.text, multipart.html], ['ü\r\näö', '<strong>ü</strong>']);
    assert.deepEqual(multipart.attachments.map(({ name, type, encoding, Body }) => [name, type, Buffer.from(Body, encoding).toString()]),
      [['black.gif', 'image/gif', 'GIF87a'], ['sample.pdf', 'application/pdf', 'PDF']]);
    const japanese = await mailhog.latestTo('nihon@example.org');
    assert.deepEqual([japanese.text, japanese.cc, japanese.replyTo, japanese.from],
      ['日本\n', '日本 <cc@example.org>', '日本 <reply-to@example.org>', 'Test <test@example.org>']);
    assert.equal(japanese.date.getTime(), Date.parse('2016-10-23T18:59:40.000Z'));
    assert.ok(japanese.deliveryDate > japanese.date);
    assert.equal((await mailhog.latestTo('latin@example.org')).text, 'üäö');
    assert.equal((await mailhog.latestTo('no-charset@example.org')).text, 'text content');
  },

  async "npm's mailhog searches and deletes"() {
    const mailhog = require('mailhog')({ host, port });
    await mailhog.deleteAll();
    await sendAll();
    const found = async (...words) => (await mailhog.search(...words)).items?.map((item) => item.subject);
    assert.deepEqual(await found(mailhog.encode('üäö', 'quoted-printable')), ['üäö']);
    assert.equal((await found('test@example.org', 'from')).length, 4);
    assert.deepEqual(await found('nihon@example.org', 'to'), ['日本']);
    assert.deepEqual(await found('bcc@example.org', 'to'), ['日本'], 'a recipient of the envelope');
    assert.deepEqual(await found('example.org', undefined, 3, 1), ['üäö']);
    assert.equal((await mailhog.latestContaining('black.gif')).attachments[0].name, 'black.gif');
    assert.equal((await mailhog.latestFrom('test@example.org')).subject, 'Mail without charset');
    const one = await mailhog.latestTo('nihon@example.org');
    assert.equal((await mailhog.deleteMessage(one.ID)).statusCode, 200);
    assert.equal(await mailhog.latestTo('nihon@example.org'), 0);
    assert.equal((await mailhog.messages()).count, 3);
    assert.equal((await mailhog.deleteAll()).statusCode, 200);
    assert.equal((await mailhog.messages()).count, 0);
  },

  async "npm's mailhog reads one inbox by its base path"() {
    const all = require('mailhog')({ host, port });
    const box = require('mailhog')({ host, port, basePath: '/box/cc@example.org/api' });
    await all.deleteAll();
    await sendAll();
    const mine = await box.messages();
    assert.deepEqual(mine.items.map((item) => [item.subject, item.Raw.To]), [['日本', ['cc@example.org']]]);
    assert.equal((await box.deleteAll()).statusCode, 200);
    assert.deepEqual([(await box.messages()).count, (await all.messages()).count], [0, 4], 'the other inboxes keep theirs');
  },

  async 'the commands of cypress-mailhog'() {
    const cy = cypressMailhog(`${base}/`);
    await cy.mhDeleteAll();
    assert.deepEqual(await cy.mhGetAllMails(), []);
    for (let n = 1; n <= 10; n++) {
      await send(`single-${n}@example.com`, [`recipient-${n}@example.com`, 'cc-recipient@example.com', 'bcc-recipient@example.com'],
        `From: Single <single-${n}@example.com>\nTo: Recipient <recipient-${n}@example.com>\nCc: cc-recipient@example.com\n` +
        `Subject: Unique Mail ${n}/10\nContent-Type: text/html\n\nThis is the HTML message body <b>in bold!</b>\n`);
    }
    await cy.mhWaitForMails(9);
    const mails = await cy.mhGetAllMails();
    assert.equal(mails.length, 10);
    assert.equal((await cy.mhGetMailsBySubject('Unique Mail 1/10')).length, 1);
    assert.equal((await cy.mhGetMailsBySender('single-4@example.com')).length, 1);
    assert.equal((await cy.mhGetMailsByRecipient('bcc-recipient@example.com')).length, 10);
    assert.equal((await cy.mhSearchMails('to', 'recipient-7@example.com', 1)).length, 1);
    assert.equal((await cy.mhFilterBySender(await cy.mhFilterBySubject(mails, 'Unique Mail 4/10'), 'single-1@example.com')).length, 0);
    const first = await cy.mhFirst(mails);
    assert.equal(await cy.mhGetSubject(first), 'Unique Mail 10/10');
    assert.match(await cy.mhGetBody(first), /HTML message body/);
    assert.equal(await cy.mhGetSender(first), 'single-10@example.com');
    assert.deepEqual(await cy.mhGetRecipients(first), ['recipient-10@example.com', 'cc-recipient@example.com', 'bcc-recipient@example.com']);
    await cy.mhHasMailWithSubject('Unique Mail 2/10');
    await cy.mhHasMailFrom('single-3@example.com');
    await cy.mhHasMailTo('bcc-recipient@example.com');
    await send('single@example.com', ['recipient@example.com'], MULTIPART);
    assert.deepEqual(await cy.mhGetAttachments((await cy.mhGetAllMails())[0]), ['"black.gif"', 'sample.pdf']);
    await cy.mhSetJimMode(false);
    assert.equal(await cy.mhGetJimMode(), false, 'the monkey is never at work here');
    const inbox = cypressMailhog(`${base}/box/recipient-7@example.com/`);
    assert.deepEqual(await inbox.mhGetRecipients((await inbox.mhGetAllMails())[0]), ['recipient-7@example.com']);
    await inbox.mhDeleteAll();
    assert.equal((await cypressMailhog(`${base}/`).mhGetAllMails()).length, 11, 'the copies of others stay');
  },
};

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok ${name}`);
  } catch (error) {
    failed = 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
}
process.exit(failed);
