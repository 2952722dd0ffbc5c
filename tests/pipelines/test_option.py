"""Every setting of every task declares what it may be, and the declaration is what is checked."""

from __future__ import annotations

import pytest

from sumi import SumiError
from sumi.pipelines.request import Request, Task
from sumi.pipelines.tasks import TASKS, Edit, Restyle

GIVEN = {"prompt": "a fox", "before": "a red fox", "after": "a blue fox"}
REQUIRED = {
    kind: {name: GIVEN[name] for name, option in kind.schema().items() if option.required} for kind in TASKS.values()
}
NUMBERS = [
    (kind, name)
    for kind in TASKS.values()
    for name, option in kind.schema().items()
    if option.kind in (int, float) and name != "best_of"
]


@pytest.mark.parametrize("kind", TASKS.values())
def test_schema_of_a_task_lists_each_of_its_settings_with_help_and_default(kind: type[Task]) -> None:
    schema, task = kind.schema(), kind(**REQUIRED[kind])
    assert kind.own() <= schema.keys() and not set(kind.without) & schema.keys()
    for name, option in schema.items():
        assert option.help.endswith("."), name
        assert option.required or getattr(task, name) == option.default


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_task_takes_a_number_at_its_declared_bounds_and_refuses_one_past_them(kind: type[Task], name: str) -> None:
    option = kind.schema()[name]
    assert option.minimum is not None and option.maximum is not None
    for bound in (option.minimum, option.maximum):
        assert getattr(kind(**REQUIRED[kind], **{name: option.kind(bound)}), name) == bound
    for beyond in (option.kind(option.minimum) - 1, option.kind(option.maximum) + 1):
        with pytest.raises(SumiError, match=f"{name} should be"):
            kind(**REQUIRED[kind], **{name: beyond})


def test_schema_knows_what_a_text_may_be() -> None:
    assert Request.schema()["prompt"].required and Restyle.schema()["after"].required
    assert not Edit.schema()["prompt"].required
    assert Request.schema()["prompt"].maximum == 4000
    assert Request.schema()["prior"].choices == ("diffusion", "ar") and Request.schema()["prior"].nullable
