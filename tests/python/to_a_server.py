"""A plugin of pytest: leads the fixed ports of Mailpit to a server of ours, so that a suite runs unchanged.

RESTANTE_HTTP and RESTANTE_SMTP are its addresses.
"""

import os
import socket

PLACES = {1025: os.environ["RESTANTE_SMTP"], 8025: os.environ["RESTANTE_HTTP"]}
connect = socket.create_connection


def create_connection(address, *arguments, **options):
    host, port = PLACES.get(address[1], "%s:%s" % address[:2]).rsplit(":", 1)
    return connect((host, int(port)), *arguments, **options)


socket.create_connection = create_connection
