"""The peers' GPS time is ours: they judge by it what is late."""

import gpstime

from deepclean.system.clock import gps_now
from tests.streams import rig


def test_the_peers_clock_is_ours() -> None:
    assert abs(gpstime.gpsnow() - gps_now() / rig.NS) < 0.5
    assert abs(rig.gps_now() - gps_now()) < rig.NS // 2
