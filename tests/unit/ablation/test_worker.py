"""What a step of an ablation says to the process that started it."""

import json

from changedet.ablation import worker as step


def test_a_mistake_within_a_step_is_one_line_and_its_exit_status(caplog, monkeypatch):
    job = {
        "folder": "x",
        "source": "baseline:diference",
        "device": "cpu",
        "label": {},
        "splits": {},
    }
    assert step.main(["judge", json.dumps(job)]) == 2
    assert "diference" in caplog.messages[-1]
    assert "\n" not in caplog.messages[-1]

    def interrupt(**job) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(step._STEPS, "judge", interrupt)
    assert step.main(["judge", "{}"]) == 130
