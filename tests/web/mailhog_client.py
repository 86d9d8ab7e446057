"""The client of MailHog on PyPI, unchanged: python3 mailhog_client.py HTTP-HOST:PORT SMTP-HOST:PORT"""

import base64
import smtplib
import sys
from email.message import EmailMessage
from email.mime.text import MIMEText

from mailhog import Mailhog

http, smtp = (argument.rsplit(":", 1) for argument in sys.argv[1:])


def send(message):
    with smtplib.SMTP(smtp[0], int(smtp[1])) as session:
        session.send_message(message)


def send_texts(number):
    for i in range(number):
        message = MIMEText(f"Test Text {i}")
        message["Subject"], message["From"], message["To"] = f"Test {i}", f"from{i}@test.com", f"to{i}@test.com"
        send(message)


mailhog = Mailhog(http[0], int(http[1]))
mailhog.delete_all()
assert (mailhog.messages().total, mailhog.messages().items) == (0, [])

send_texts(10)
message = mailhog.messages(limit=1, start=9).items[0]
assert (message.get_sender(), message.get_recipients(), message.get_subject()) == ("from0@test.com", ["to0@test.com"], "Test 0")
assert message.content.body == "Test Text 0", message.content.body
assert (mailhog.messages(start=20, limit=0).items, mailhog.messages(start=20).total) == ([], 10)

page = mailhog.search("Test Text", limit=5, start=2)
assert (page.total, page.count, page.start, len(page.items)) == (10, 5, 2, 5)
assert mailhog.search("from1@test.com", "from").items[0].content.body == "Test Text 1"
assert mailhog.search("to8@test.com", "to", limit=5).total == 1
for query in (("Test Text 11",), ("non@test.com", "from"), ("non@test.com", "to")):
    assert mailhog.search(*query).items == [], query

mailhog.delete(mailhog.messages().items[0])
assert mailhog.messages().total == 9

message = EmailMessage()
message["Subject"], message["From"], message["To"] = "Test", "from@test.com", "to@test.com"
message.set_content("Test Text")
message.add_attachment(b"Test Attachment", maintype="application", subtype="octet-stream", filename="test.txt")
send(message)
text, attachment = mailhog.messages().items[0].mime.parts[:2]
assert "Test Text" in text.body
assert "test.txt" in attachment.headers["Content-Disposition"]
assert attachment.headers["Content-Type"] == "['application/octet-stream']", attachment.headers
assert base64.b64decode(attachment.body) == b"Test Attachment"
mailhog.delete_all()
assert mailhog.messages().total == 0
print("ok PyPI's mailhog lists, searches and deletes")
