"""The program that the pytest recipe tests."""

import smtplib


def sign_up(address, host, port):
    with smtplib.SMTP(host, port) as session:
        try:
            session.sendmail("shop@example.test", [address], b"Subject: Welcome\r\n\r\nYour code is 4711.\r\n")
        except smtplib.SMTPRecipientsRefused as refused:
            return "try later" if refused.recipients[address][0] // 100 == 4 else "no"
    return "sent"
