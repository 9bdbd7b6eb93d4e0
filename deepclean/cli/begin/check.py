"""`deepclean check`: hold a configuration against what is there."""

from __future__ import annotations

import json
import textwrap

import typer

from deepclean.cli import options
from deepclean.errors import ExitStatus
from deepclean.site.findings import Grade, SiteFinding
from deepclean.system.clock import gps_now


def check(
    config: options.ConfigOption,
    as_json: options.JsonOption = False,
    override: options.SetOption = None,
) -> None:
    """Hold a configuration against what is there, before the first `run`.

    It looks at the directories, channels and rates, the history that is kept, the models, the room
    and the rights for the output, the port, inotify and memory. It changes nothing. Run it as the
    user that will run the daemon. Exit status 3: something would keep the daemon from starting or
    from cleaning.
    """
    settings = options.prepare(config, override)
    from deepclean.site.check import check as look
    from deepclean.site.check import worst

    found = list(look(settings, gps_now()))
    if as_json:
        facts = [
            {
                "subject": each.subject,
                "found": options.with_file(each.found),
                "grade": each.grade.value,
                "remedy": options.with_file(each.remedy),
            }
            for each in found
        ]
        print(json.dumps(facts, indent=2))
    else:
        width = options.console().width
        for each in found:
            print(_shown(each, width))
    if worst(found) is Grade.FAULT:
        raise typer.Exit(ExitStatus.VERDICT)


def _shown(finding: SiteFinding, width: int) -> str:
    """Return a finding as lines of a terminal: grade, subject, what is there, what to do."""
    lead = f"{finding.grade.value:8}"
    indent = " " * len(lead)
    said = [f"{finding.subject}: {options.with_file(finding.found)}"]
    said += [f"-> {options.with_file(finding.remedy)}"] * bool(finding.remedy)
    return "\n".join(
        textwrap.fill(
            text,
            max(width, 40),
            initial_indent=indent if line else lead,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line, text in enumerate(said)
    )
