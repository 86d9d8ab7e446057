"""smtplib and poplib logging in: python3 submission.py SUBMISSION_PORT SUBMISSIONS_PORT POP3_PORT CERTIFICATE.

Any failed assertion or exception ends the script, and with it the test that runs it.
"""

import poplib
import smtplib
import ssl
import sys

SUBMISSION_PORT, SUBMISSIONS_PORT, POP3_PORT = map(int, sys.argv[1:4])
HOST, USER, PASSWORD, TIMEOUT = "localhost", "alice@example.test", "sesame", 120
CONTEXT = ssl.create_default_context(cafile=sys.argv[4])


def refused(code, call, *arguments):
    try:
        call(*arguments)
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code == code, error
    else:
        raise AssertionError(f"not refused: {arguments}")


def submit(client):
    client.ehlo()
    code, _ = client.mail(USER)
    assert code == 530, code
    refused(535, client.login, USER, "wrong")
    client.login(USER, PASSWORD)
    client.rset()
    assert client.sendmail(USER, [USER], "Subject: by smtplib\r\n\r\nbody\r\n") == {}
    try:
        client.sendmail(USER, ["somebody@far.test"], "Subject: relayed\r\n\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        assert error.recipients["somebody@far.test"][0] == 550, error
    else:
        raise AssertionError("an open relay")


with smtplib.SMTP(HOST, SUBMISSION_PORT, "client.test", timeout=TIMEOUT) as client:
    client.starttls(context=CONTEXT)
    client.ehlo()
    assert not client.has_extn("starttls")
    assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
    submit(client)
with smtplib.SMTP_SSL(HOST, SUBMISSIONS_PORT, "client.test", timeout=TIMEOUT, context=CONTEXT) as client:
    submit(client)

client = poplib.POP3(HOST, POP3_PORT, timeout=TIMEOUT)
assert client.capa()["SASL"] == ["PLAIN"]
client.stls(CONTEXT)
assert client.capa()["SASL"] == ["PLAIN"]
client.user(USER)
client.pass_(PASSWORD)
assert client.stat()[0] == 2
client.quit()
