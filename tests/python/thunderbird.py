"""Thunderbird without a window, at a running server: its own code reads, flags, deletes, moves, sends and waits.

    python3 thunderbird.py IMAP-HOST:PORT SMTP-HOST:PORT USER PASSWORD DIRECTORY

USER's INBOX has the letters sent-0 to sent-3. The script flags and reads sent-0, deletes sent-1, moves sent-2 to Archive, and sends a
message to USER, with its copy in Sent. It prints `watching` when it does nothing any more, and ends after the letter `late`, which the
test delivers then, has appeared. Any failed assertion ends the script, and with it the test.

It talks to Thunderbird by Marionette, whose commands are JSON with its length before it.
"""

import json
import os
import socket
import subprocess
import sys
import time

IMAP, SMTP, USER, PASSWORD, HOME = sys.argv[1:]
PATIENCE = 120
PROFILE = f"{HOME}/profile"

# The account is there from the beginning. Nothing is asked of the Internet.
SETTINGS = {
    "mail.accountmanager.accounts": "account1",
    "mail.accountmanager.defaultaccount": "account1",
    "mail.account.account1.server": "server1",
    "mail.account.account1.identities": "id1",
    "mail.server.server1.type": "imap",
    "mail.server.server1.name": USER,
    "mail.server.server1.hostname": IMAP.rsplit(":", 1)[0],
    "mail.server.server1.port": int(IMAP.rsplit(":", 1)[1]),
    "mail.server.server1.userName": USER,
    "mail.server.server1.authMethod": 3,
    "mail.server.server1.socketType": 0,
    "mail.server.server1.login_at_startup": False,
    "mail.server.server1.check_new_mail": False,
    "mail.identity.id1.fullName": "Alice",
    "mail.identity.id1.useremail": USER,
    "mail.identity.id1.smtpServer": "smtp1",
    "mail.identity.id1.valid": True,
    "mail.smtpservers": "smtp1",
    "mail.smtpserver.smtp1.hostname": SMTP.rsplit(":", 1)[0],
    "mail.smtpserver.smtp1.port": int(SMTP.rsplit(":", 1)[1]),
    "mail.smtpserver.smtp1.username": USER,
    "mail.smtpserver.smtp1.authMethod": 3,
    "mail.smtpserver.smtp1.try_ssl": 0,
    "mailnews.start_page.enabled": False,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "app.update.enabled": False,
    "app.donation.eoy.version.viewed": 999,
    "datareporting.policy.dataSubmissionPolicyBypassNotification": True,
    "datareporting.healthreport.uploadEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "",
    "extensions.update.enabled": False,
    "marionette.port": 0,
}

# Names for all scripts. `args` has the arguments.
COMMON = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.allServers.find(server => server.type == "imap");
const folder = name => server.rootFolder.subFolders.find(folder => folder.URI.endsWith("/" + name));
const headers = name => folder(name) ? [...folder(name).messages] : [];
const header = subject => headers("INBOX").find(header => header.subject == subject);
const done = () => {
  const { promise, resolve, reject } = Promise.withResolvers();
  const stop = status => (status ? reject(new Error("status " + status.toString(16))) : resolve(true));
  const listener = {
    QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
    OnStartRunningUrl() {}, OnStopRunningUrl: (url, status) => stop(status),
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {}, onStopCopy: stop,
  };
  return { promise, listener };
};
"""


class Thunderbird:
    """The program, and the connection to its Marionette."""

    def __init__(self):
        os.makedirs(PROFILE)
        with open(f"{PROFILE}/user.js", "w") as settings:
            for name, value in SETTINGS.items():
                settings.write(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n")
        self.until = time.monotonic() + PATIENCE
        self.log = open(f"{HOME}/log", "w+")
        variables = {"PATH": os.environ["PATH"], "HOME": HOME, "LANG": "C.UTF-8", "MOZ_CRASHREPORTER_DISABLE": "1"}
        command = ["thunderbird", "--headless", "--no-remote", "--profile", PROFILE, "--marionette"]
        command.append("--remote-allow-system-access")
        self.process = subprocess.Popen(command, env=variables, stdout=self.log, stderr=self.log)
        port = self.eventually("it opens the port of Marionette", self.port)
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.settimeout(PATIENCE)
        self.buffer, self.number = b"", 0
        self.message()  # its greeting
        self.command("WebDriver:NewSession", {})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": PATIENCE * 1000})

    def port(self):
        try:
            with open(f"{PROFILE}/MarionetteActivePort") as port:
                return int(port.read() or 0)
        except FileNotFoundError:
            return 0

    def eventually(self, event, look):
        """Waits until `look` finds something, and returns it."""
        while not (found := look()):
            assert self.process.poll() is None, f"Thunderbird has ended: {self.said()}"
            assert time.monotonic() < self.until, f"{event}: not in {PATIENCE} s: {self.said()}"
            time.sleep(0.02)
        return found

    def said(self):
        self.log.seek(0)
        lines = [line for line in self.log if line.strip() and "gtk" not in line.lower()]
        return "".join(lines[-20:])

    def message(self):
        while b":" not in self.buffer:
            self.receive()
        length, self.buffer = self.buffer.split(b":", 1)
        while len(self.buffer) < int(length):
            self.receive()
        text, self.buffer = self.buffer[: int(length)], self.buffer[int(length):]
        return json.loads(text)

    def receive(self):
        octets = self.stream.recv(65536)
        assert octets, f"Thunderbird has hung up: {self.said()}"
        self.buffer += octets

    def command(self, name, parameters):
        self.number += 1
        text = json.dumps([0, self.number, name, parameters]).encode()
        self.stream.sendall(b"%d:%s" % (len(text), text))
        while (answer := self.message())[:2] != [1, self.number]:
            pass
        assert answer[2] is None, answer[2]
        return answer[3]

    def run(self, script, *arguments):
        """Runs the body of an asynchronous function in Thunderbird, and returns its value."""
        body = (
            "const [args, resolve] = [arguments, arguments[arguments.length - 1]];"
            f"(async () => {{ {COMMON} {script} }})()"
            ".then(value => resolve([value ?? null]), error => resolve(`${error}\\n${error.stack}`));"
        )
        parameters = {"script": body, "args": arguments, "newSandbox": True, "sandbox": "system"}
        value = self.command("WebDriver:ExecuteAsyncScript", parameters)["value"]
        assert isinstance(value, list), f"{script}: {value}"
        return value[0]

    def sees(self, name, subjects):
        """Waits until a folder has messages of these subjects and no others."""
        look = "return headers(args[0]).map(header => header.subject).sort()"
        self.eventually(f"{name} has {subjects}", lambda: self.run(look, name) == sorted(subjects))

    def end(self):
        self.command("Marionette:Quit", {"flags": ["eForceQuit"]})
        assert self.process.wait(PATIENCE) == 0, self.said()


thunderbird = Thunderbird()
try:
    thunderbird.run(
        """server.password = args[0];
        const outgoing = MailServices.outgoingServer ?? MailServices.smtp;
        outgoing.defaultServer.password = args[0];
        const { promise, listener } = done();
        folder("INBOX").getNewMessages(null, listener);
        return promise;""",
        PASSWORD,
    )
    thunderbird.sees("INBOX", ["sent-0", "sent-1", "sent-2", "sent-3"])

    uses = """const flags = { Archive: "Archive", Drafts: "Drafts", Junk: "Junk", Sent: "SentMail", Trash: "Trash" };
        return Object.entries(flags).every(([name, flag]) => folder(name)?.getFlag(Ci.nsMsgFolderFlags[flag]));"""
    thunderbird.eventually("the folders have their uses", lambda: thunderbird.run(uses))

    thunderbird.run(
        """folder("INBOX").markMessagesRead([header("sent-0")], true);
        folder("INBOX").markMessagesFlagged([header("sent-0")], true);"""
    )
    thunderbird.run(
        """const { promise, listener } = done();
        folder("INBOX").deleteMessages([header("sent-1")], null, false, false, listener, false);
        return promise;"""
    )
    thunderbird.run(
        """const { promise, listener } = done();
        MailServices.copy.copyMessages(folder("INBOX"), [header("sent-2")], folder("Archive"), true, listener, null, false);
        return promise;"""
    )
    thunderbird.sees("INBOX", ["sent-0", "sent-3"])

    thunderbird.run(
        """const identity = MailServices.accounts.allIdentities[0];
        const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
        fields.from = fields.to = identity.email;
        fields.subject = "sent by Thunderbird";
        fields.body = "Gr\\u00fc\\u00dfe\\r\\n";
        const send = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
        const { promise, resolve, reject } = Promise.withResolvers();
        const listener = {
          QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
          onStartSending() {}, onSendProgress() {}, onStatus() {}, onGetDraftFolderURI() {}, onTransportSecurityError() {},
          onSendNotPerformed: (id, status) => reject(new Error("not sent: " + status)),
          onStopSending: (id, status) => status && reject(new Error("not sent: " + status.toString(16))),
          onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() {},
          onStopCopy: status => (status ? reject(new Error("no copy: " + status.toString(16))) : resolve(true)),
        };
        await send.createAndSendMessage(null, identity, "account1", fields, false, false, Ci.nsIMsgSend.nsMsgDeliverNow,
          null, "text/plain", fields.body, null, null, listener, null, null, Ci.nsIMsgCompType.New);
        return promise;"""
    )
    thunderbird.sees("INBOX", ["sent-0", "sent-3", "sent by Thunderbird"])
    print("watching", flush=True)
    thunderbird.sees("INBOX", ["late", "sent-0", "sent-3", "sent by Thunderbird"])
    thunderbird.end()
finally:
    thunderbird.process.kill()
    thunderbird.process.wait()
