"""imaplib, and the client `imapclient` of PyPI if it is installed, against a running restante.

    python3 imap_clients.py (imaplib | imapclient) HOST IMAP_PORT SMTP_PORT

Any failed assertion or exception ends the script, and with it the test that runs it. It ends with 77 if the client is not installed.
"""

import datetime
import email
import imaplib
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


def send(subject):
    with smtplib.SMTP(HOST, SMTP_PORT, local_hostname="client.test", timeout=TIMEOUT) as client:
        assert client.sendmail("ann@far.test", [USER], letter(subject)) == {}


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
    assert imaplib.ParseFlags(answer) == ()
    size = int(answer.split(b"RFC822.SIZE ")[1].split()[0])

    head, text = ok(client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[TEXT]<6.4>)"))[:2]
    assert head[1] == b"From: Ann <ann@far.test>\r\nSubject: hello\r\n\r\n", head
    assert text[1] == b"line", text
    whole = ok(client.fetch("1", "(BODY[])"))[0][1]
    assert len(whole) == size and whole.endswith(letter("hello")), whole
    assert imaplib.ParseFlags(ok(client.fetch("1", "(FLAGS)"))[0]) == (b"\\Seen",)

    (answer,) = ok(client.store("1", "+FLAGS", "(\\Flagged later)"))
    assert {b"\\Flagged", b"\\Seen", b"later"} == set(imaplib.ParseFlags(answer)), answer
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
    assert set(imaplib.ParseFlags(answer)) == {b"\\Draft", b"\\Seen"}
    assert client.store("1", "-FLAGS", "\\Draft")[0] == "NO"
    assert client.logout()[0] == "BYE"


def with_imapclient():
    try:
        from imapclient import IMAPClient
    except ImportError as missing:
        print(missing)
        sys.exit(77)
    for subject in ["one", "two", "three"]:
        send(subject)
    with IMAPClient(HOST, port=IMAP_PORT, ssl=False, timeout=TIMEOUT) as client:
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
            assert len(one[b"BODY[]"]) == one[b"RFC822.SIZE"] and one[b"FLAGS"] == ()
            assert email.message_from_bytes(one[b"BODY[]"])["To"] == USER
        assert client.search(["SUBJECT", "tw"]) == [uid for uid in uids if found[uid][b"ENVELOPE"].subject == b"two"]

        assert client.add_flags(uids[:1], [b"\\Flagged", b"later"])[uids[0]] == (b"\\Flagged", b"later")
        assert client.search(["FLAGGED"]) == uids[:1]
        assert client.remove_flags(uids[:1], [b"later"])[uids[0]] == (b"\\Flagged",)

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


{"imaplib": with_imaplib, "imapclient": with_imapclient}[sys.argv[1]]()
