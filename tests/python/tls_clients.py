"""smtplib and poplib under TLS: python3 tls_clients.py SMTPS_PORT POP3S_PORT POP3_PORT CERTIFICATE.

Any failed assertion or exception ends the script, and with it the test that runs it.
"""

import poplib
import smtplib
import ssl
import sys

SMTPS_PORT, POP3S_PORT, POP3_PORT = map(int, sys.argv[1:4])
HOST, USER, TIMEOUT = "localhost", "alice@example.test", 10


def trusting(version):
    context = ssl.create_default_context(cafile=sys.argv[4])
    context.minimum_version = context.maximum_version = version
    return context


def read(client, count):
    assert client.user(USER).startswith(b"+OK")
    assert client.pass_("sesame").startswith(b"+OK")
    assert client.stat()[0] == count
    lines = client.retr(count)[1]
    client.quit()
    return lines


for count, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), 1):
    context = trusting(version)
    with smtplib.SMTP_SSL(HOST, SMTPS_PORT, "client.test", timeout=TIMEOUT, context=context) as client:
        text = f"Subject: {version.name}\r\n\r\n" + "line\r\n" * 20000
        assert client.sendmail("ann@far.test", [USER], text) == {}
    for implicit in (True, False):
        if implicit:
            client = poplib.POP3_SSL(HOST, POP3S_PORT, timeout=TIMEOUT, context=context)
        else:
            client = poplib.POP3(HOST, POP3_PORT, timeout=TIMEOUT)
            assert "STLS" in client.capa()
            assert client.stls(context).startswith(b"+OK")
            assert "STLS" not in client.capa()
        lines = read(client, count)
        assert lines.count(b"line") == 20000
        assert f"Subject: {version.name}".encode() in lines

try:
    poplib.POP3_SSL(HOST, POP3S_PORT, timeout=TIMEOUT, context=ssl.create_default_context())
except ssl.SSLCertVerificationError:
    pass
else:
    raise AssertionError("a certificate of nobody was trusted")
