"""Runs the pytest recipe where there is no pytest: its fixtures and its tests, one after the other, and a wait in vain."""

import inspect
import pathlib
import sys
import tempfile
import types

pytest = types.ModuleType("pytest")
pytest.fixture = lambda *function, **_: function[0] if function else lambda fixture: fixture
sys.modules["pytest"] = pytest

import app
import conftest
import test_signup


class Directories:
    def mktemp(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=name, dir="."))


fixture = conftest.mail(Directories())
mail = next(fixture)
for name, test in list(vars(test_signup).items()):
    if name.startswith("test_"):
        fixtures = {"mail": mail, "inbox": conftest.inbox(mail)}
        test(**{wanted: fixtures[wanted] for wanted in inspect.signature(test).parameters})
        print("passed", name)
inbox = conftest.inbox(mail)
app.sign_up(inbox.address, *mail.smtp)
try:
    inbox.wait("subject:invoice", timeout="0s")
except AssertionError as failure:
    print("in vain:", failure)
next(fixture, None)
