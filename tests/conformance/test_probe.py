"""The comparison with another emulator instead of the service."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.__main__ import COULD_NOT_RUN, DIFFERENT, SAME, main
from conformance.compatible import compatible_questions
from conformance.probe import in_order
from conformance.question import Question
from conformance.questions import native_questions
from qwen_embed.emulator import Emulator

KEY = "sk-0123456789abcdef-secret"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def service():
    with Emulator(api_key=KEY, workspaces=()) as service:
        yield service


@pytest.fixture
def report(tmp_path):
    return tmp_path / "report.md"


def asking(*beginnings: str) -> list[Question]:
    """Return the questions whose titles start with one of these."""
    return [
        question
        for question in [*native_questions(burst=True), *compatible_questions()]
        if question.title.startswith(beginnings)
    ]


def probe(service, report, *beginnings, env=(), **options) -> int:
    settings = {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": service.native_url, "YES": "1"}
    if beginnings:
        options["questions"] = asking(*beginnings)
        assert options["questions"]
    return main(["--report", str(report)], env={**settings, **dict(env)}, pause=0.01, **options)


def differences(report: Path) -> dict[str, str]:
    """Return the section of the report about each difference, by title."""
    section = report.read_text(encoding="utf-8").split("## Differences")[1]
    parts = section.split("## Requests and responses")[0].split("### ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[int, Path, str]:
    """Run all questions; return the exit status, the report, and the output."""
    report = tmp_path_factory.mktemp("whole") / "report.md"
    printed = io.StringIO()
    with (
        Emulator(api_key=KEY, workspaces=()) as service,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        return probe(service, report), report, printed.getvalue()


def test_against_another_emulator_nothing_differs(whole):
    status, report, output = whole

    text = report.read_text(encoding="utf-8")
    assert status == SAME
    assert differences(report) == {}
    assert KEY not in output + text
    billed = int(re.search(r"Tokens billed: ([\d,]+)", text)[1].replace(",", ""))
    assert 0 < billed < 20_000
    assert f"{billed:,} tokens billed" in output
    assert "code: invalid_api_key (documented)" in text
    assert "Skipped without `BURST=1`" in text
    assert not re.search(r"\[(-?0\.\d+, ){3}", text)


def test_every_question_is_compared(whole):
    _, report, _ = whole

    rows = report.read_text(encoding="utf-8").split("## Differences")[0].splitlines()
    table = [row for row in rows if row.startswith("| ")][1:]
    assert len(table) == len([*native_questions(burst=False), *compatible_questions()])
    assert [row for row in table if not row.endswith("| same |")] == []


def test_printed_numbers_for_base64_are_no_difference(service, report):
    service.base64_as_floats = True

    assert probe(service, report, "Compatible: encoding_format base64") == SAME


def test_a_difference_of_the_compatible_protocol_names_its_module(service, report):
    service.set_model("text-embedding-v4", texts_per_request=6)

    assert probe(service, report, "Compatible: more texts") == DIFFERENT
    [found] = differences(report).values()
    assert "| named cap | 6 | 10 (documented) |" in found
    assert "To change: `qwen_embed/emulator/dialects/openai.py`" in found


def test_the_least_certain_comes_first(whole):
    _, _, output = whole

    titles = [line for line in output.splitlines() if line.startswith("  ")]
    assert "reported to hang" in titles[0]
    assert "raise no error and have no effect" in titles[1]


def test_a_changed_cap_is_found_and_named(service, report):
    service.set_model("text-embedding-v4", texts_per_request=6)

    assert probe(service, report, "text-embedding-v4: 10 texts") == DIFFERENT

    [found] = differences(report).values()
    assert "| named cap | 6 | 10 |" in found
    assert "`qwen_embed/models.py`" in found


def test_vectors_out_of_order_are_found(service, report):
    service.shuffle = True

    assert probe(service, report, "The format of a success") == DIFFERENT
    [found] = differences(report).values()
    assert "| vectors in the order of the texts | no | yes |" in found


def test_repeated_indices_are_found(service, report):
    service.repeat_indices = True

    assert probe(service, report, "text-embedding-v4: sparse") == DIFFERENT
    [found] = differences(report).values()
    assert "| an index is repeated | yes | no |" in found
    assert "`qwen_embed/emulator/vectors/sparse.py`" in found


def test_an_error_is_found_and_quoted(service, report):
    service.fail_next(2, status=500, code="SystemError", message="Broken | here.")

    # The first error hits the request that checks the access.
    assert probe(service, report, "`parameters` empty") == DIFFERENT
    [found] = differences(report).values()
    assert "| status | 500 | 200 |" in found
    assert "| message | Broken \\| here. | no value |" in found
    assert "To change: `qwen_embed/emulator/dialects/native.py`" in found
    assert '"SystemError"' in report.read_text(encoding="utf-8")


def test_a_different_message_has_its_own_verdict(service, report):
    service.fail_next(2, status=400, code="InvalidParameter", message="No such dimension.")

    assert probe(service, report, "A dimension of 0") == DIFFERENT
    assert "**message differs**" in report.read_text(encoding="utf-8")


def test_please_makes_no_difference(service, report):
    message = "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 8192]"
    service.fail_next(
        2, status=400, code="InvalidParameter", message=message.replace("Range", "Please range")
    )

    assert probe(service, report, "A single space") == SAME


def test_a_lost_connection_is_a_difference_and_no_crash(service, report):
    service.fail_next()
    service.drop_next()

    assert probe(service, report, "`parameters` empty") == DIFFERENT
    assert "no response" in report.read_text(encoding="utf-8")


def test_a_response_of_another_format_is_a_difference_and_no_crash(service, report):
    service.fail_next()
    service.fail_next(status=200, body=b'{"output": {"embeddings": [7]}}')

    assert probe(service, report, "Accept-Encoding", "The format") == DIFFERENT
    assert "unexpected format" in differences(report)[asking("The format")[0].title]


@pytest.mark.parametrize("body", [b"<html>502</html>", b"[]", b"7", b""])
def test_bodies_without_an_error_are_differences(service, report, body):
    service.fail_next()
    service.fail_next(status=404, body=body)

    assert probe(service, report, "An empty list") == DIFFERENT


def test_a_model_without_access_is_no_difference(service, report):
    service.fail_next()
    service.fail_next(2, status=403, code="Model.AccessDenied", message="no")

    assert probe(service, report, "text-embedding-v2: 25 texts") == SAME
    assert "the account has no access to the model" in report.read_text(encoding="utf-8")


def test_a_rejected_workspace_is_a_difference(service, report):
    service.fail_next()
    service.fail_next(status=403, code="AccessDenied", message="no")

    assert probe(service, report, "An unknown workspace") == DIFFERENT


def test_a_429_is_retried(service, report):
    service.fail_next()
    service.fail_next(2, status=429, code="Throttling.RateQuota", message="later")

    assert probe(service, report, "`parameters` empty") == SAME
    assert "| same |" in report.read_text(encoding="utf-8")


def test_a_burst_compares_the_429s(service, report):
    service.set_quota(requests_per_minute=600)

    assert probe(service, report, "A burst", env={"BURST": "1"}) == SAME
    text = report.read_text(encoding="utf-8")
    assert "codes: Throttling.RateQuota; Retry-After: absent" in text
    assert "service:  429 application/json" in text
    assert "Skipped without" not in text


def test_every_module_that_a_question_names_exists():
    questions = [*native_questions(burst=True), *compatible_questions()]

    named = {module for question in questions for module in question.module.split(", ")}

    assert sorted(module for module in named if not (ROOT / module).is_file()) == []


def test_a_burst_comes_last():
    questions = in_order([*native_questions(burst=True), *compatible_questions()])

    assert [question.burst > 0 for question in questions] == [False] * (len(questions) - 1) + [True]


def test_a_retry_after_is_found(service, report):
    service.fail_next()
    service.fail_next(120, status=429, code="Throttling.BurstRate", headers={"Retry-After": "3"})

    assert probe(service, report, "A burst") == DIFFERENT
    [found] = differences(report).values()
    assert "| Retry-After | 3 | absent |" in found
    assert "| codes | Throttling.BurstRate | Throttling.RateQuota |" in found


def test_a_burst_that_provokes_nothing_says_so(service, report):
    assert probe(service, report, "A burst", env={"BURST": "1"}) == SAME
    assert "there was no 429" in report.read_text(encoding="utf-8")


def test_there_is_no_burst_unless_it_is_enabled():
    questions = native_questions(burst=False)

    assert [question for question in questions if question.burst] == []


def test_a_key_in_a_response_is_redacted(service, report, capsys):
    service.fail_next()
    service.fail_next(status=400, code="Odd", message=f"Your key {KEY}.", headers={"X-Key": KEY})

    assert probe(service, report, "`parameters` empty") == DIFFERENT
    assert KEY not in "".join(capsys.readouterr()) + report.read_text(encoding="utf-8")
    assert "Your key (the key)." in report.read_text(encoding="utf-8")


def test_the_budget_is_never_reached(service, report):
    service.clear()

    probe(service, report, limit=2_000)

    text = report.read_text(encoding="utf-8")
    billed = int(re.search(r"Tokens billed: ([\d,]+)", text)[1].replace(",", ""))
    assert billed < 2_000
    assert "skipped: it might have exceeded the budget" in text


def test_it_prints_the_cost_before_it_asks_for_confirmation(service, report, capsys):
    def ask(question):
        assert "Send them?" in question
        output = capsys.readouterr().out
        assert "never 20,000 or more" in output
        assert "0.0140 CNY" in output
        return "y"

    assert probe(service, report, "`parameters` empty", env={"YES": ""}, ask=ask) == SAME
    assert service.requests


def closed(question):
    raise EOFError


@pytest.mark.parametrize("ask", [lambda _: "n", lambda _: "", closed])
def test_anything_but_yes_sends_nothing(service, report, ask):
    status = probe(service, report, "`parameters` empty", env={"YES": ""}, ask=ask)

    assert status == COULD_NOT_RUN
    assert service.requests == []
    assert not report.exists()


def test_a_closed_standard_input_sends_nothing(service, report):
    env = {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": service.native_url}

    ended = subprocess.run(
        [sys.executable, "-m", "conformance", "--report", str(report)],
        check=False,
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == COULD_NOT_RUN
    assert service.requests == []
    assert "Traceback" not in ended.stderr


def test_an_overdue_balance_stops_it_at_once(service, report, capsys):
    service.fail_next(status=400, code="Arrearage", message="Access denied.")

    assert probe(service, report) == COULD_NOT_RUN
    assert len(service.requests) == 1
    assert "Arrearage" in capsys.readouterr().err


def test_a_wrong_key_stops_it_at_once(service, report, capsys):
    service.api_key = "sk-other"

    assert probe(service, report) == COULD_NOT_RUN
    assert len(service.requests) == 1
    assert "InvalidApiKey" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "DASHSCOPE_API_KEY is not set"),
        ({"DASHSCOPE_API_KEY": "sk-é"}, "non-ASCII characters"),
        ({"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_REGION": "mars"}, "no shared host"),
        (
            {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": "http://127.0.0.1:9", "YES": "1"},
            "did not respond",
        ),
    ],
)
def test_what_prevents_a_run_is_reported_in_one_line(env, message, report, capsys):
    assert main(["--report", str(report)], env=env, questions=asking("`parameters` e")) == 2

    error = capsys.readouterr().err
    assert message in error
    assert KEY not in error
    assert not report.exists()


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ({}, "dashscope.aliyuncs.com (cn-beijing)"),
        ({"DASHSCOPE_REGION": "intl"}, "dashscope-intl.aliyuncs.com (ap-southeast-1)"),
        (
            {"DASHSCOPE_BASE_URL": "https://dashscope-intl.aliyuncs.com/api/v1"},
            "dashscope-intl.aliyuncs.com (ap-southeast-1)",
        ),
        (
            {"DASHSCOPE_REGION": "us-east-1", "DASHSCOPE_WORKSPACE": "llm-mine"},
            "{workspace}.us-east-1.maas.aliyuncs.com (us-east-1)",
        ),
    ],
)
def test_it_prints_the_host_and_the_region(env, host, report, capsys):
    env = {"DASHSCOPE_API_KEY": KEY, **env}

    questions = asking("`parameters` e")
    status = main(["--report", str(report)], env=env, ask=lambda _: "n", questions=questions)

    assert status == COULD_NOT_RUN
    assert host in capsys.readouterr().out


def test_a_missing_folder_of_the_report_is_an_error_before_anything_is_sent(service, tmp_path):
    assert probe(service, tmp_path / "none" / "report.md") == COULD_NOT_RUN
    assert service.requests == []
