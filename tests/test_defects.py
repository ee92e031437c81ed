"""The table of seeded defects follows the source: what `mutations.py` would find out after minutes, at once."""

import ast
import re
from collections import Counter
from pathlib import Path

import mutations
import pytest
from defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parent.parent
OBJECTIVES = "models/objectives.py"


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.what)
def test_a_defects_words_stand_once_in_their_module_and_become_another_program(defect: Defect):
    text = (ROOT / "aectl" / defect.module).read_text()
    assert text.count(defect.right) == 1
    changed = ast.parse(text.replace(defect.right, defect.wrong))
    assert ast.dump(changed) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("tests", sorted({defect.tests for defect in DEFECTS}))
def test_the_tests_that_should_notice_are_there(tests: str):
    file, _, word = tests.partition(" -k ")
    names = re.findall(r"^def (test_\w+)", (ROOT / "tests" / file).read_text(), re.MULTILINE)
    assert any(word in name for name in names)


def test_no_defect_stands_twice():
    for key in (lambda defect: defect.what, lambda defect: (defect.module, defect.right, defect.wrong)):
        assert max(Counter(map(key, DEFECTS)).values()) == 1


@pytest.mark.slow
def test_a_defect_is_noticed_and_a_change_that_is_none_is_not():
    right = "return kl_weight / math.prod(shape)"
    is_noticed, found, _ = mutations.noticed(
        Defect("", OBJECTIVES, right, "return kl_weight", "models/test_likelihoods.py -k lectures")
    )
    assert is_noticed
    assert found.startswith("`test_the_lectures_weight`")
    same = Defect(
        "", OBJECTIVES, right, "return (kl_weight) / math.prod(shape)", "models/test_likelihoods.py -k lectures"
    )
    assert not mutations.noticed(same)[0]
    with pytest.raises(SystemExit, match="stand 0 times"):
        mutations.noticed(Defect("", OBJECTIVES, "no such words", "", "models/test_likelihoods.py"))
    is_noticed, found, _ = mutations.noticed(
        Defect("", OBJECTIVES, right, "return kl_weight", "models/test_likelihoods.py -k nothing_like_it")
    )
    assert not is_noticed
    assert found.startswith("**DID NOT RUN**")
