"""The client `mailpit-api-client` of PyPI, unchanged, on the API of a running server.

    python3 mailpit_client.py HTTP-ADDRESS

It ends with an error at the first answer that is not as the client needs it, and with 77 if the client is not installed.
"""

import sys

import json
import urllib.request

try:
    from mailpit.client.api import API
except ImportError as missing:
    print(missing)
    sys.exit(77)


def send(base, subject):
    """Sends a message with a file, to one recipient."""
    message = {
        "From": {"Email": "ann@example.test", "Name": "Ann"},
        "To": [{"Email": "bob@example.test", "Name": "Bob"}],
        "Subject": subject,
        "Text": "text",
        "Headers": {"Message-ID": f"<{subject}@example.test>"},
        "Attachments": [{"Filename": "a.txt", "Content": "aGVsbG8="}],
    }
    request = urllib.request.Request(f"{base}/api/v1/send", json.dumps(message).encode(), method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)["ID"]


def check(base):
    api = API(base, timeout=30)
    api.delete_messages([])
    assert api.get_messages().total == 0
    first, second = send(base, "first"), send(base, "second")
    messages = api.get_messages(limit=10, start=0)
    assert (messages.total, messages.unread, messages.count, messages.start) == (2, 2, 2, 0)
    assert [message.id for message in messages.messages] == [second, first]
    assert messages.messages[0].message_id == "second@example.test"
    assert messages.messages[0].created.tzinfo is not None

    message = api.get_message(first)
    assert (message.from_.name, message.from_.address) == ("Ann", "ann@example.test")
    assert [to.address for to in message.to] == ["bob@example.test"]
    assert (message.cc, message.bcc) == ([], [])
    assert (message.subject, message.text, message.html) == ("first", "text", "")
    part = message.attachments[0]
    assert (part.file_name, part.content_type, part.size) == ("a.txt", "text/plain", 5)
    assert api.get_message_attachment(first, part.part_id) == "hello"
    headers = api.get_message_headers(first)
    assert headers.message_id == ["<first@example.test>"] and headers.delivered_to == ["bob@example.test"]
    assert headers.date[0].year > 2000

    api.put_messages([first], "Read", False)
    assert api.get_messages().unread == 2
    api.put_messages([first, second], "Read", True)
    assert api.get_messages().unread == 0
    api.delete_messages([first])
    assert [message.id for message in api.get_messages().messages] == [second]
    api.delete_messages([])
    assert api.get_messages().total == 0


for base in (sys.argv[1], f"{sys.argv[1]}/box/bob@example.test"):
    check(base)
print("mailpit-api-client: good")
