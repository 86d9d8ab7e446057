// The client `imapflow` of npm, unchanged, at a running server.
//
//     node imapflow.mjs IMAP-ADDRESS SMTP-ADDRESS NODE_MODULES
//
// It ends with an error at the first answer that is not as the client needs it, and with 77 if the client is not installed.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { sender } from "./smtp.mjs";

const [imap, smtp, modules] = process.argv.slice(2);
let ImapFlow;
try {
  ({ ImapFlow } = createRequire(join(modules, "x.js"))("imapflow"));
} catch (missing) {
  console.log(missing.message);
  process.exit(77);
}

const user = "node@example.test";
const deliver = (subject) =>
  sender(smtp)("ann@far.test", [user],
    `From: Ann <ann@far.test>\nTo: ${user}\nSubject: ${subject}\nMessage-ID: <${subject}@far.test>\n\nfirst line\n.\n${subject}\n`);
for (const subject of ["one", "two", "three", "four"]) await deliver(subject);

const [host, port] = imap.split(/:(?=\d+$)/);
const client = new ImapFlow({ host, port: Number(port), secure: false, auth: { user, pass: "any" }, logger: false });
client.on("error", (error) => { throw error; });
await client.connect();
assert(client.enabled.has("CONDSTORE"));

const folders = await client.list({ statusQuery: { messages: true, unseen: true } });
const uses = Object.fromEntries(folders.map((folder) => [folder.path, folder.specialUse]));
assert.deepEqual(uses, {
  INBOX: "\\Inbox", Archive: "\\Archive", Drafts: "\\Drafts", Junk: "\\Junk", Sent: "\\Sent", Trash: "\\Trash",
});
assert.deepEqual(folders[0].status, { path: "INBOX", messages: 4, unseen: 4 });

const lock = await client.getMailboxLock("INBOX");
assert.equal(client.mailbox.exists, 4);
assert(client.mailbox.permanentFlags.has("\\*"));
const all = await client.fetchAll("1:*", {
  envelope: true, bodyStructure: true, flags: true, size: true, internalDate: true, source: true, headers: ["subject"],
});
assert.deepEqual(all.map((one) => one.envelope.subject).sort(), ["four", "one", "three", "two"]);
for (const one of all) {
  const { subject } = one.envelope;
  assert.deepEqual(one.envelope.from, [{ name: "Ann", address: "ann@far.test" }]);
  assert.equal(one.bodyStructure.type, "text/plain");
  assert.equal(one.source.length, one.size);
  assert.equal(one.headers.toString(), `Subject: ${subject}\r\n\r\n`);
  assert(one.source.toString().endsWith(`\r\n\r\nfirst line\r\n.\r\n${subject}\r\n`));
}
const numbered = (subject) => all.find((one) => one.envelope.subject === subject).seq;

const { meta, content } = await client.download(String(numbered("two")), undefined, { chunkSize: 20 });
const chunks = [];
for await (const chunk of content) chunks.push(chunk);
assert.equal(Buffer.concat(chunks).length, meta.expectedSize);
assert.deepEqual(await client.search({ body: "three", seen: false }), [numbered("three")]);
assert.deepEqual(await client.search({ body: "nowhere" }), []);

assert(await client.messageFlagsAdd("2", ["\\Flagged", "\\Recent", "later"]));
const { flags } = await client.fetchOne("2", { flags: true });
// `\\Recent` depends on the session that was told of the message first.
assert.deepEqual([...flags].filter((flag) => flag !== "\\Recent").sort(), ["\\Flagged", "later"]);
const copied = await client.messageCopy("2", "Archive");
assert.equal(copied.uidMap.size, 1);
const moved = await client.messageMove("3", "Archive");
assert.equal(moved.uidMap.size, 1);
const appended = await client.append("Drafts", "Subject: x\r\n\r\ny", ["\\Draft"], new Date(0));
assert.equal(appended.destination, "Drafts");
const status = await client.status("Archive", { messages: true, size: true, uidNext: true, highestModseq: true });
assert.deepEqual([status.messages, status.uidNext, status.size > 0], [2, 3, true]);
assert(await client.messageDelete("1"));
assert.equal(client.mailbox.exists, 2);

const news = new Promise((told) => client.once("exists", told));
const idling = client.idle();
await deliver("five");
const { count, prevCount } = await news;
assert.deepEqual([count, prevCount], [3, 2]);
await client.noop();
await idling;

await client.mailboxCreate("Entwürfe & mehr");
await client.mailboxRename("Entwürfe & mehr", "Büro");
assert((await client.list()).some((folder) => folder.path === "Büro"));
await client.mailboxDelete("Büro");
lock.release();
await client.logout();
