"""Runs the pytest recipe where there is no pytest: its fixture and its tests, one after the other."""

import pathlib
import sys
import tempfile
import types

pytest = types.ModuleType("pytest")
pytest.fixture = lambda **_: lambda fixture: fixture
sys.modules["pytest"] = pytest

import conftest
import test_signup


class Directories:
    def mktemp(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=name, dir="."))


fixture = conftest.mail(Directories())
mail = next(fixture)
for name, test in list(vars(test_signup).items()):
    if name.startswith("test_"):
        test(mail)
        print("passed", name)
next(fixture, None)
