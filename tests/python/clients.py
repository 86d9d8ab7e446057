"""smtplib and poplib against a running restante: python3 clients.py HOST SMTP_PORT POP3_PORT.

Any failed assertion or exception ends the script, and with it the test that runs it.
"""

import email
import email.policy
import poplib
import smtplib
import sys
from email.message import EmailMessage

HOST, SMTP_PORT, POP3_PORT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
USER = "python@example.test"
TIMEOUT = 10


def smtp():
    return smtplib.SMTP(HOST, SMTP_PORT, local_hostname="client.test", timeout=TIMEOUT)


def pop3(user=USER):
    client = poplib.POP3(HOST, POP3_PORT, timeout=TIMEOUT)
    assert client.getwelcome().startswith(b"+OK")
    assert client.user(user).startswith(b"+OK")
    assert client.pass_("any password").startswith(b"+OK")
    return client


def letter(subject):
    message = EmailMessage()
    message["From"] = "Ann <ann@far.test>"
    message["To"] = USER
    message["Subject"] = subject
    message.set_content("first line\n.\n..\n.leading dot\n\nlast line\n")
    return message


def main():
    attachment = bytes(range(256)) * 4096

    with smtp() as client:
        code, _ = client.ehlo()
        assert code == 250, code
        for extension in ("pipelining", "8bitmime", "enhancedstatuscodes", "size"):
            assert client.has_extn(extension), extension
        assert int(client.esmtp_features["size"]) == 50 * 1024 * 1024, client.esmtp_features
        assert client.noop()[0] == 250
        assert client.verify(USER)[0] in (250, 252)
        assert client.expn("staff")[0] == 502
        assert client.help()

        # send_message takes the recipients and BODY=8BITMIME or not from the message itself.
        assert client.send_message(letter("one")) == {}
        two = letter("two")
        two.add_attachment(attachment, maintype="application", subtype="octet-stream", filename="a.bin")
        assert client.send_message(two) == {}
        raw = "Subject: caf\u00e9\r\n\r\n\u00e9t\u00e9\r\n".encode()
        assert client.sendmail("ann@far.test", [USER, "other@example.test"], raw, ["BODY=8BITMIME"]) == {}

        # In the wrong order, and back to work after RSET.
        code, text = client.docmd("DATA")
        assert code == 503 and text.startswith(b"5.5.1"), (code, text)
        assert client.rset()[0] == 250
        assert client.send_message(letter("four")) == {}

    with smtp() as client:
        # Recipients that can't be: smtplib says which one, and delivers to the others.
        refused = client.sendmail("ann@far.test", [USER, "+x@example.test"], b"Subject: five\r\n\r\n")
        assert list(refused) == ["+x@example.test"], refused
        code, text = client.mail("ann@far.test", [f"SIZE={50 * 1024 * 1024 + 1}"])
        assert code == 552 and text.startswith(b"5.3.4"), (code, text)

    client = pop3()
    count, total = client.stat()
    assert count == 5, count
    sizes = [int(line.split()[1]) for line in client.list()[1]]
    assert sum(sizes) == total, (sizes, total)
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == 5, ids
    assert client.uidl(2).split()[2] == ids[1]
    capabilities = client.capa()
    for capability in ("TOP", "UIDL", "USER", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"):
        assert capability in capabilities, capabilities

    messages = []
    for number in range(1, 6):
        response, lines, octets = client.retr(number)
        # poplib counts the octets it received without the stuffing: as announced, if all is well.
        assert octets == sizes[number - 1] == int(response.split()[1]), (response, octets)
        messages.append(email.message_from_bytes(b"\r\n".join(lines) + b"\r\n", policy=email.policy.default))
    assert [m["Subject"] for m in messages] == ["one", "two", "caf\u00e9", "four", "five"]
    assert messages[0].get_content().replace("\r\n", "\n") == "first line\n.\n..\n.leading dot\n\nlast line\n"
    assert next(messages[1].iter_attachments()).get_content() == attachment
    assert messages[0]["Return-Path"] == "<ann@far.test>"
    assert messages[0]["Delivered-To"] == USER

    head = client.top(1, 1)[1]
    assert head[-2:] == [b"", b"first line"], head
    assert client.dele(1).startswith(b"+OK")
    assert client.stat()[0] == 4
    assert client.rset().startswith(b"+OK")
    assert client.stat()[0] == 5
    for number in (2, 5):
        client.dele(number)
    try:
        client.retr(2)
        raise AssertionError("a deleted message was sent")
    except poplib.error_proto as error:
        assert b"-ERR" in error.args[0]
    assert client.noop().startswith(b"+OK")
    assert client.quit().startswith(b"+OK")

    client = pop3()
    assert [line.split()[1] for line in client.uidl()[1]] == [ids[0], ids[2], ids[3]]
    client.quit()
    client = pop3("other@example.test")
    assert client.stat()[0] == 1
    client.quit()


main()
