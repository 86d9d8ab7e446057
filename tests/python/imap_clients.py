"""imaplib, and the clients `imapclient`, `aioimaplib` and `imap-tools` of PyPI if they are installed, against a running restante.

    python3 imap_clients.py (imaplib | imapclient | aioimaplib | imap_tools) HOST IMAP_PORT SMTP_PORT

Any failed assertion or exception ends the script, and with it the test that runs it. It ends with 77 if the client is not installed.
"""

import asyncio
import datetime
import email
import imaplib
import importlib
import smtplib
import sys

HOST, IMAP_PORT, SMTP_PORT = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
USER = sys.argv[1] + "@example.test"
TIMEOUT = 20
FOLDERS = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
LETTER = (
    "From: Ann <ann@far.test>\r\nTo: {user}\r\nSubject: {subject}\r\nDate: Thu, 01 Jan 2026 12:00:00 +0000\r\n"
    "Message-ID: <{subject}@far.test>\r\n\r\nfirst line\r\n.\r\nlast line\r\n"
)


def letter(subject):
    return LETTER.format(user=USER, subject=subject).encode()


def send(*subjects):
    with smtplib.SMTP(HOST, SMTP_PORT, local_hostname="client.test", timeout=TIMEOUT) as client:
        for subject in subjects:
            assert client.sendmail("ann@far.test", [USER], letter(subject)) == {}


def installed(name):
    """A client of PyPI, which not every machine has."""
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        print(missing)
        sys.exit(77)


def ok(answer):
    kind, data = answer
    assert kind == "OK", answer
    return data


def with_imaplib():
    client = imaplib.IMAP4(HOST, IMAP_PORT, timeout=TIMEOUT)
    ok(client.login(USER, "any password"))
    assert sorted(line.split()[-1].decode() for line in ok(client.list())) == sorted(FOLDERS)
    assert len(ok(client.lsub())) == len(FOLDERS)
    assert ok(client.select("INBOX")) == [b"0"]

    send("hello")
    for _ in range(100):
        ok(client.noop())
        if client.response("EXISTS")[1] not in ([None], [b"0"]):
            break
    (answer,) = ok(client.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"))
    assert b'"hello" (("Ann" NIL "ann" "far.test"))' in answer, answer
    assert imaplib.Internaldate2tuple(answer) is not None
    assert imaplib.ParseFlags(answer) == (b"\\Recent",)
    size = int(answer.split(b"RFC822.SIZE ")[1].split()[0])

    head, text = ok(client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[TEXT]<6.4>)"))[:2]
    assert head[1] == b"From: Ann <ann@far.test>\r\nSubject: hello\r\n\r\n", head
    assert text[1] == b"line", text
    whole = ok(client.fetch("1", "(BODY[])"))[0][1]
    assert len(whole) == size and whole.endswith(letter("hello")), whole
    assert set(imaplib.ParseFlags(ok(client.fetch("1", "(FLAGS)"))[0])) == {b"\\Recent", b"\\Seen"}

    (answer,) = ok(client.store("1", "+FLAGS", "(\\Flagged later)"))
    assert {b"\\Flagged", b"\\Seen", b"\\Recent", b"later"} == set(imaplib.ParseFlags(answer)), answer
    for key in [("FLAGGED", "TEXT", "last"), ("KEYWORD", "later"), ("SUBJECT", '"hell"'), ("SEEN", "NOT", "DELETED")]:
        assert ok(client.search(None, *key)) == [b"1"], key
    assert ok(client.search(None, "UNSEEN")) == [b""]

    date = imaplib.Time2Internaldate(datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.timezone.utc))
    assert b"APPENDUID" in ok(client.append("Drafts", "(\\Draft \\Seen)", date, letter("draft")))[0]
    ok(client.uid("COPY", "1", "Archive"))
    assert client.response("COPYUID")[1][0].endswith(b" 1 1")
    assert ok(client.status("Archive", "(MESSAGES UNSEEN)")) == [b"Archive (MESSAGES 1 UNSEEN 0)"]

    ok(client.create("A.B"))
    ok(client.rename("A.B", "A.C"))
    assert client.delete("A")[0] == "NO"
    ok(client.delete("A.C"))
    ok(client.delete("A"))

    ok(client.uid("MOVE", "1", "Trash"))
    ok(client.noop())
    assert ok(client.status("INBOX", "(MESSAGES)")) == [b"INBOX (MESSAGES 0)"]
    ok(client.select("Trash"))
    ok(client.store("1", "+FLAGS", "\\Deleted"))
    assert ok(client.expunge()) == [b"1"]
    ok(client.close())

    ok(client.select("Drafts", readonly=True))
    (answer,) = ok(client.fetch("1", "(INTERNALDATE FLAGS)"))
    assert b'"29-Feb-2020 12:00:00 +0000"' in answer, answer
    assert set(imaplib.ParseFlags(answer)) == {b"\\Draft", b"\\Seen", b"\\Recent"}
    assert client.store("1", "-FLAGS", "\\Draft")[0] == "NO"
    assert client.logout()[0] == "BYE"


def with_imapclient():
    imapclient = installed("imapclient")
    send("one", "two", "three")
    with imapclient.IMAPClient(HOST, port=IMAP_PORT, ssl=False, timeout=TIMEOUT) as client:
        client.login(USER, "any password")
        assert client.namespace().personal == (("", "."),), client.namespace()
        client.id_({"name": "a test"})
        opened = client.select_folder("INBOX")
        assert opened[b"EXISTS"] == 3 and opened[b"UIDVALIDITY"] > 0, opened
        uids = client.search()
        assert len(uids) == 3

        found = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]"])
        assert sorted(one[b"ENVELOPE"].subject for one in found.values()) == [b"one", b"three", b"two"]
        for one in found.values():
            assert str(one[b"ENVELOPE"].from_[0]) == "Ann <ann@far.test>", one
            assert one[b"BODYSTRUCTURE"][:2] == (b"text", b"plain"), one
            assert len(one[b"BODY[]"]) == one[b"RFC822.SIZE"] and one[b"FLAGS"] == (b"\\Recent",)
            assert email.message_from_bytes(one[b"BODY[]"])["To"] == USER
        assert client.search(["SUBJECT", "tw"]) == [uid for uid in uids if found[uid][b"ENVELOPE"].subject == b"two"]

        assert client.add_flags(uids[:1], [b"\\Flagged", b"later"])[uids[0]] == (b"\\Recent", b"\\Flagged", b"later")
        assert client.search(["FLAGGED"]) == uids[:1]
        assert client.remove_flags(uids[:1], [b"later"])[uids[0]] == (b"\\Recent", b"\\Flagged")

        client.idle()
        send("four")
        told = []
        while (4, b"EXISTS") not in told:
            news = client.idle_check(timeout=TIMEOUT)
            assert news, told
            told.extend(news)
        client.idle_done()

        client.create_folder("Entwürfe & mehr")
        assert client.folder_exists("Entwürfe & mehr")
        client.rename_folder("Entwürfe & mehr", "Büro")
        assert "Büro" in [name for _, _, name in client.list_folders()]
        client.append("Büro", letter("five"), [b"\\Seen"], datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.timezone.utc))
        assert client.folder_status("Büro", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 1, b"UNSEEN": 0}
        client.unsubscribe_folder("Büro")
        assert "Büro" not in [name for _, _, name in client.list_sub_folders()]
        client.delete_folder("Büro")
        for use, folder in [(b"\\Sent", "Sent"), (b"\\Trash", "Trash"), (b"\\Drafts", "Drafts")]:
            assert client.find_special_folder(use) == folder

        client.copy(uids[:2], "Archive")
        assert client.folder_status("Archive", ["MESSAGES"]) == {b"MESSAGES": 2}
        client.move(uids[:1], "Trash")
        assert uids[0] not in client.search()
        client.delete_messages(uids[1:])
        client.expunge()
        assert len(client.search()) == 1
        client.unselect_folder()


async def with_aioimaplib():
    aioimaplib = installed("aioimaplib")
    send("one", "two")
    client = aioimaplib.IMAP4(host=HOST, port=IMAP_PORT, timeout=TIMEOUT)
    await client.wait_hello_from_server()

    async def done(answer):
        answer = await answer
        assert answer.result == "OK", answer
        return answer.lines

    await done(client.login(USER, "any password"))
    await done(client.id(name="a test"))
    assert b'(("" ".")) NIL NIL' in await done(client.namespace())
    assert b"2 EXISTS" in await done(client.select("INBOX"))
    lines = await done(client.fetch("1:2", "(UID FLAGS RFC822.SIZE BODY.PEEK[])"))
    assert all(f"BODY[] {{{len(text)}}}".encode() in head for head, text in [lines[0:2], lines[3:5]]), lines
    assert (await done(client.uid_search("SUBJECT two")))[0] in [b"1", b"2"]
    assert b"\\Flagged" in (await done(client.uid("store", "1", "+FLAGS", "(\\Flagged)")))[0]

    idle = await client.idle_start(timeout=TIMEOUT)
    await asyncio.get_running_loop().run_in_executor(None, send, "three")
    assert b"3 EXISTS" in await client.wait_server_push(timeout=TIMEOUT)
    client.idle_done()
    await done(idle)

    assert b"APPENDUID" in (await done(client.append(letter("mine"), mailbox="Drafts", flags="\\Draft")))[-1]
    assert b"COPYUID" in (await done(client.uid("copy", "1", "Archive")))[-1]
    assert any(b"COPYUID" in line for line in await done(client.move("1", "Trash")))
    assert b"Archive (MESSAGES 1 UNSEEN 1)" in await done(client.status("Archive", "(MESSAGES UNSEEN)"))
    await done(client.create("A.B"))
    await done(client.rename("A.B", "A.C"))
    await done(client.delete("A.C"))
    await done(client.getquotaroot("INBOX"))
    await done(client.expunge())
    await done(client.close())
    await done(client.logout())


def with_imap_tools():
    tools = installed("imap_tools")
    AND, NOT, OR, FLAGS = tools.AND, tools.NOT, tools.OR, tools.MailMessageFlags
    send("one", "two", "three")
    with tools.MailBoxUnencrypted(HOST, IMAP_PORT, timeout=TIMEOUT).login(USER, "any password") as box:
        assert sorted(folder.name for folder in box.folder.list()) == sorted(FOLDERS)
        messages = {one.subject: one for one in box.fetch(mark_seen=False, bulk=True)}
        assert sorted(messages) == ["one", "three", "two"]
        assert all(one.flags == ("\\Recent",) and one.from_ == "ann@far.test" for one in messages.values()), messages
        one, two, three = (messages[subject].uid for subject in ["one", "two", "three"])
        assert [found.uid for found in box.fetch(AND(subject="two", seen=False), headers_only=True, mark_seen=False)] == [two]
        box.flag(one, [FLAGS.FLAGGED, "later"], True)
        assert box.uids(AND(keyword="later")) == [one]
        assert sorted(box.uids(OR(subject="two", text="three@"))) == sorted([two, three])
        assert one not in box.uids(NOT(flagged=True))
        assert len(box.uids(AND(date_gte=datetime.date(2020, 1, 1)))) == 3

        box.folder.create("Büro & mehr")
        assert box.folder.exists("Büro & mehr")
        box.copy(one, "Büro & mehr")
        box.folder.rename("Büro & mehr", "Neu")
        assert box.folder.status("Neu", ["MESSAGES", "UNSEEN"]) == {"MESSAGES": 1, "UNSEEN": 1}
        box.move(two, "Archive")
        date = datetime.datetime(2020, 2, 29, tzinfo=datetime.timezone.utc)
        box.append(letter("mine"), "Drafts", dt=date, flag_set=[FLAGS.DRAFT])
        box.delete(three)
        assert box.uids() == [one]
        with box.idle as idle:
            send("four")
            assert b"* 2 EXISTS" in idle.poll(timeout=TIMEOUT)
        box.folder.delete("Neu")


STORIES = {
    "imaplib": with_imaplib,
    "imapclient": with_imapclient,
    "aioimaplib": lambda: asyncio.run(with_aioimaplib()),
    "imap_tools": with_imap_tools,
}
STORIES[sys.argv[1]]()
