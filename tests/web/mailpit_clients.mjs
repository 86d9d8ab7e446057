// The clients of Mailpit, unchanged, on the API of a running server: `mailpit-api` with its whole public interface, and the
// commands of `cypress-mailpit` with a `cy` that sends their requests.
//
//     node mailpit_clients.mjs HTTP-ADDRESS NODE_MODULES
//
// It ends with an error at the first answer that is not as the client needs it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [http, modules] = process.argv.slice(2);
const { MailpitClient } = await import(pathToFileURL(join(modules, "mailpit-api/dist/index.mjs")));

const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const letter = {
  From: { Email: "sender@example.test", Name: "Sender Name" },
  To: [{ Email: "recipient@example.test", Name: "Recipient Name" }],
  Cc: [{ Email: "cc@example.test", Name: "Carbon Name" }],
  Bcc: ["bcc@example.test"],
  ReplyTo: [{ Email: "noreply@example.test", Name: "No Reply" }],
  Subject: "Test Email with Attachment",
  Text: "This is a test email with an attachment.",
  HTML: '<p>Mailpit is <b>awesome</b>! <img src="cid:inline-image" /> <a href="https://example.test/">link</a></p>',
  Headers: { "List-Unsubscribe": "<mailto:unsubscribe@example.test>, <https://example.test/unsubscribe>" },
  Attachments: [
    { Content: png, Filename: "test.png" },
    { Content: png, Filename: "test.png", ContentID: "inline-image", ContentType: "image/png" },
  ],
  Tags: ["ignored"],
};
const refused = (promise, told) => assert.rejects(promise, told);

async function mailpitApi(base) {
  const mailpit = new MailpitClient(base);
  await mailpit.deleteMessages();
  assert.equal((await mailpit.getInfo()).Messages, 0);

  const { ID } = await mailpit.sendMessage(letter);
  assert.match(ID, /^[A-Za-z0-9]{22}$/);
  const waited = await mailpit.waitForMessage({ query: "subject:attachment" });
  assert.equal(waited.ID, ID);

  const message = await mailpit.getMessageSummary();
  assert.deepEqual(message, await mailpit.getMessageSummary(ID));
  assert.deepEqual(message.From, { Name: "Sender Name", Address: "sender@example.test" });
  assert.deepEqual(message.To, [{ Name: "Recipient Name", Address: "recipient@example.test" }]);
  assert.deepEqual(message.Cc, [{ Name: "Carbon Name", Address: "cc@example.test" }]);
  assert.deepEqual(message.ReplyTo, [{ Name: "No Reply", Address: "noreply@example.test" }]);
  assert.equal(message.ReturnPath, "sender@example.test");
  assert.equal(message.Subject, letter.Subject);
  assert.equal(message.Text, letter.Text);
  assert.equal(message.HTML, letter.HTML);
  assert.deepEqual(message.Tags, []);
  assert.deepEqual(message.ListUnsubscribe.Links, ["mailto:unsubscribe@example.test", "https://example.test/unsubscribe"]);
  assert.ok(Math.abs(new Date(message.Date) - Date.now()) < 3_600_000);
  const octets = Buffer.from(png, "base64");
  for (const [part, contentId] of [[message.Attachments[0], ""], [message.Inline[0], "inline-image"]]) {
    assert.deepEqual([part.FileName, part.ContentType, part.Size, part.ContentID], ["test.png", "image/png", octets.length, contentId]);
    assert.equal(part.Checksums.SHA256.length, 64);
    const blob = await mailpit.getMessageAttachment(ID, part.PartID);
    assert.equal(blob.type, "image/png");
    assert.deepEqual(Buffer.from(await blob.arrayBuffer()), octets);
  }

  const headers = await mailpit.getMessageHeaders(ID);
  for (const name of ["Cc", "Content-Type", "Date", "From", "List-Unsubscribe", "Message-Id", "Mime-Version", "Reply-To", "Return-Path", "Subject", "To"]) {
    assert.equal(headers[name]?.length, 1, name);
  }
  assert.equal(headers.Bcc, undefined);
  const source = await mailpit.getMessageSource();
  assert.ok(source.includes("Subject: Test Email with Attachment") && !source.includes("bcc@example.test"));

  const list = await mailpit.listMessages(0, 10);
  assert.deepEqual([list.total, list.unread, list.messages_count, list.messages_unread, list.start, list.tags], [1, 0, 1, 0, 0, []]);
  const [item] = list.messages;
  assert.deepEqual([item.ID, item.Read, item.Attachments, item.Tags], [ID, true, 1, []]);
  assert.equal(await mailpit.setReadStatus({ IDs: [ID], Read: false }), "ok");
  assert.equal((await mailpit.listMessages()).unread, 1);
  assert.equal(await mailpit.setReadStatus({ Search: "after:2000-01-01", Read: true }, { tz: "America/Chicago" }), "ok");
  assert.equal((await mailpit.searchMessages({ query: "is:read", start: 0, limit: 10 })).messages_count, 1);
  assert.equal((await mailpit.searchMessages({ query: "before:2000-01-01", tz: "Asia/Tokyo" })).messages_count, 0);
  assert.equal((await mailpit.waitForMessages({ query: "from:sender", count: 1, exact: true })).messages.length, 1);

  assert.ok((await mailpit.renderMessageHTML()).includes(`/api/v1/message/${ID}/part/`));
  assert.ok((await mailpit.renderMessageHTML(ID, 1)).includes('<a target="_blank" rel="noreferrer noopener" href='));
  assert.equal(await mailpit.renderMessageText(ID), letter.Text);

  const settings = await mailpit.getConfiguration();
  assert.deepEqual([settings.ChaosEnabled, settings.SpamAssassin, settings.MessageRelay.Enabled], [true, false, false]);
  const triggers = {
    Authentication: { ErrorCode: 451, Probability: 5 },
    Recipient: { ErrorCode: 452, Probability: 10 },
    Sender: { ErrorCode: 453, Probability: 15 },
  };
  if (base === http) {
    assert.deepEqual(await mailpit.setChaosTriggers(triggers), triggers);
    assert.deepEqual(await mailpit.getChaosTriggers(), triggers);
    assert.equal((await mailpit.setChaosTriggers()).Sender.Probability, 0);
  } else {
    await refused(mailpit.setChaosTriggers(triggers), /403 .*send this request to .api.v1.chaos/);
    assert.equal((await mailpit.getChaosTriggers()).Sender.Probability, 0);
  }

  assert.deepEqual(await mailpit.getTags(), []);
  assert.equal(await mailpit.setTags({ IDs: [ID] }), "ok");
  assert.equal(await mailpit.deleteTag("a tag"), "ok");
  await refused(mailpit.setTags({ IDs: [ID], Tags: ["a tag"] }), /501 .* no tags here/);
  await refused(mailpit.renameTag("a tag", "other"), /404 /);
  await refused(mailpit.htmlCheck(), /501 /);
  await refused(mailpit.linkCheck(), /501 /);
  await refused(mailpit.spamAssassinCheck(), /501 /);
  await refused(mailpit.getAttachmentThumbnail(ID, "2"), /501 /);
  await refused(mailpit.releaseMessage(ID, { To: ["x@example.test"] }), /501 /);
  await refused(mailpit.sendMessage({ ...letter, To: [{ Email: "nobody" }] }), /400 .*invalid To address: To\[0\]\.Email is not an address/);
  await refused(mailpit.deleteMessagesBySearch({ query: "" }), /400 .*no search query/);
  await refused(mailpit.getMessageSummary("nothing"), /404 /);

  const second = await mailpit.sendMessage({ ...letter, Subject: "second" });
  assert.equal(await mailpit.deleteMessages({ IDs: [second.ID] }), "ok");
  assert.equal((await mailpit.listMessages()).total, 1);
  assert.equal(await mailpit.deleteMessagesBySearch({ query: `subject:"${letter.Subject}"` }), "ok");
  assert.equal((await mailpit.listMessages()).total, 0);
}

async function cypressMailpit(base) {
  const source = await readFile(join(modules, "cypress-mailpit/dist/src/MailpitCommands.js"), "utf8");
  globalThis.Cypress = { expose: () => base, config: () => 4000 };
  globalThis.cy = {
    env: async () => ({}),
    wrap: async (value) => value,
    wait: (time) => new Promise((resolve) => setTimeout(resolve, time)),
    async request({ method, url, qs = {}, body }) {
      const target = new URL(url);
      Object.entries(qs).forEach(([name, value]) => target.searchParams.set(name, value));
      const headers = body === undefined ? {} : { "Content-Type": "application/json" };
      const response = await fetch(target, { method, headers, body: body && JSON.stringify(body) });
      assert.ok(response.ok, `${method} ${target}: ${response.status}`);
      const isJson = response.headers.get("Content-Type").includes("json");
      return { status: response.status, body: await (isJson ? response.json() : response.text()) };
    },
  };
  const { MailpitCommands } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
  const mailpit = new MailpitCommands();
  await mailpit.mailpitDeleteAllEmails();
  await mailpit.mailpitNotHasEmailsBySubject("Hello");
  assert.match((await mailpit.mailpitSendMail()).ID, /^[A-Za-z0-9]{22}$/);
  await mailpit.mailpitHasEmailsBySubject("Hello");
  await mailpit.mailpitHasEmailsByTo("jane@example.com");
  await mailpit.mailpitHasEmailsBySearch("from:from@example.com");
  assert.equal((await mailpit.mailpitGetAllMails()).messages.length, 1);
  const message = await mailpit.mailpitGetMail();
  assert.equal(await mailpit.mailpitGetSubject(message), "Hello Mailpit");
  assert.equal(await mailpit.mailpitGetFromAddress(message), "from@example.com");
  assert.deepEqual(await mailpit.mailpitGetRecipientAddress(message), ["jane@example.com"]);
  assert.deepEqual(await mailpit.mailpitGetAttachments(message), []);
  assert.equal(await mailpit.mailpitGetMailHTMlBody(message), "<p>hello from mailpit</p>");
  assert.equal(await mailpit.mailpitGetMailTextBody(message), "hello from mailpit");
  assert.equal(await mailpit.mailpitSetStatusAsUnRead(message), "ok");
  assert.equal((await mailpit.mailpitSearchEmails("is:unread")).messages_count, 1);
  assert.equal(await mailpit.mailpitSetStatusAsRead([message]), "ok");
  assert.equal(await mailpit.mailpitSetAllEmailStatusAsUnRead(), "ok");
  assert.equal(await mailpit.mailpitSetAllEmailStatusAsRead(), "ok");
  assert.equal((await mailpit.mailpitGetAllMails()).unread, 0);
  await mailpit.mailpitSendMail({ subject: "other", attachments: [{ Content: png, Filename: "a.png" }] });
  const other = await mailpit.mailpitGetMail();
  assert.deepEqual(await mailpit.mailpitGetAttachments(other), ["a.png"]);
  await mailpit.mailpitDeleteEmailsBySearch("subject:other");
  await mailpit.mailpitNotHasEmailsByTo("other@example.com");
  assert.equal((await mailpit.mailpitGetEmailsBySubject("Hello")).messages_count, 1);
  await mailpit.mailpitDeleteAllEmails();
}

for (const base of [http, `${http}/box/recipient@example.test`]) {
  await mailpitApi(base);
}
for (const base of [http, `${http}/box/jane@example.com`]) {
  await cypressMailpit(base);
}
console.log("mailpit-api and cypress-mailpit: good");
