"""The place of a process among those that train together, and what is wrong with it."""

import os
import socket
from pathlib import Path

import pytest

from changedet.errors import ConfigError
from changedet.training.launch import ALONE, Launch, Voice, check_batch, read_launch

#: As torchrun sets them for the second of two processes, after one restart.
SECOND = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "TORCHELASTIC_RUN_ID": "job_7",
}


def test_without_a_launcher_there_is_one_process():
    assert read_launch({}) == ALONE
    assert ALONE.is_main
    assert read_launch({"WORLD_SIZE": "1", "RANK": "0"}) == ALONE


def test_the_place_is_what_torchrun_says():
    launch = read_launch(SECOND)
    assert launch == Launch(
        1, 2, local_rank=1, local_world=2, restarts=1, job="job_7", launcher=launch.launcher
    )
    assert not launch.is_main


def test_one_process_of_torchrun_knows_its_job_too():
    own = {"WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_RUN_ID": "job_7"}
    launch = read_launch(own)
    assert launch == Launch(restarts=2, job="job_7", launcher=launch.launcher)
    assert launch.launcher == read_launch(SECOND).launcher


def test_a_torchrun_is_told_from_any_other_by_its_process():
    launch = read_launch({**SECOND, "TORCHELASTIC_RUN_ID": "none"})
    assert launch.job is None
    host, parent, began = launch.launcher.split(":")
    assert (host, int(parent)) == (socket.gethostname(), os.getppid())
    assert began.isdecimal() or not Path("/proc/self/stat").exists()
    others = {name: text for name, text in SECOND.items() if not name.startswith("TORCHELASTIC")}
    assert read_launch(others).launcher is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_ADDR": ""}, r"WORLD_SIZE is 2, .* MASTER_ADDR is not set; start them with torch"),
        (
            {"MASTER_ADDR": "", "MASTER_PORT": "", "RANK": ""},
            r"RANK and MASTER_ADDR and MASTER_PORT are not set",
        ),
        ({"RANK": "2"}, r"RANK 2 of WORLD_SIZE 2 .*cannot be"),
        ({"LOCAL_RANK": "5"}, r"LOCAL_RANK 5 of LOCAL_WORLD_SIZE 2 cannot be"),
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE must be a whole number, got 'two'"),
        ({"RANK": "-1"}, r"RANK must be a whole number, got '-1'"),
    ],
)
def test_variables_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        read_launch({**SECOND, **changes})


def test_a_batch_has_a_sample_for_every_process():
    check_batch(3, world=3)
    with pytest.raises(ConfigError, match=r"3 processes share batches of 2 .*batch_size=3` or mor"):
        check_batch(2, world=3)


def test_the_first_process_tells_what_is_wrong_in_all_of_them():
    assert Voice().is_heard({})
    assert Voice().is_heard({**SECOND, "RANK": "0", "LOCAL_RANK": "0"})
    assert not Voice().is_heard(SECOND)
    # What is wrong with the variables themselves is told once as well.
    assert not Voice().is_heard({**SECOND, "MASTER_ADDR": ""})
    assert Voice().is_heard({**SECOND, "MASTER_ADDR": "", "RANK": "0"})


def test_processes_that_know_each_other_agree_on_who_tells():
    voice = Voice()
    voice.is_chosen = True
    assert voice.is_heard(SECOND)
    voice.is_chosen = False
    assert not voice.is_heard({})
