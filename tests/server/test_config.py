"""The configuration: sources, precedence, faults and the generated sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextbest.server import config
from nextbest.server.errors import ConfigError

SAMPLE = Path(__file__).parents[2] / "deploy" / "nextbest.yaml"


def faults_of(**sources: object) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(**sources)  # type: ignore[arg-type]
    return "\n".join(caught.value.faults)


def test_defaults_are_valid() -> None:
    assert config.load() == config.Config()


def test_sample_file_is_current() -> None:
    assert SAMPLE.read_text() == config.sample(), "run `nextbest schema --config`"


def test_sample_file_loads_as_the_defaults() -> None:
    assert config.load(SAMPLE) == config.Config()


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "nextbest.yaml"
    file.write_text("rpc: {in_flight_max: 1, streams_max: 1, query_slice: 1}\n")
    environment = {"NEXTBEST_RPC_STREAMS_MAX": "2", "NEXTBEST_RPC_QUERY_SLICE": "2"}
    loaded = config.load(file, environment, {"rpc.query_slice": "3"})
    rpc = loaded.rpc
    assert (rpc.in_flight_max, rpc.streams_max, rpc.query_slice) == (1, 2, 3)


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "nextbest.yaml"
    file.write_text(
        "rpc: {in_flite_max: 1, streams_max: 0, query_slice: yes please}\n"
        "retension: {known_days: 1}\n"
        "data: 3\n"
    )
    flags = {"engine.profiles_max": "many", "listen.addresses": "nowhere"}
    text = faults_of(file=file, environment={"NEXTBEST_RPC_STREAM_MAX": "1"}, flags=flags)
    for part in (
        "unknown key, nearest: rpc.in_flight_max",
        "rpc.streams_max: 0, allowed: 1 to 100000",
        "'yes please', allowed: a whole number",
        "unknown part, nearest: retention",
        "data: 3, allowed: keys with values",
        "'many', allowed: a whole number",
        "listen.addresses: 'nowhere'",
        "nearest: NEXTBEST_RPC_STREAMS_MAX",
    ):
        assert part in text


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "unix:", ":7600", "host:70000", "::1:7600", "host:x", ""]
)
def test_bad_addresses_are_refused(address: str) -> None:
    assert "listen.addresses" in faults_of(flags={"listen.addresses": [address]})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:7600", "unix:/run/n.sock", "a.b:1"])
def test_addresses_are_taken(address: str) -> None:
    assert config.load(flags={"listen.addresses": address}).listen.addresses == (address,)


def test_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    assert faults_of(file=tmp_path / "none.yaml").endswith("No such file or directory")
    broken = tmp_path / "broken.yaml"
    broken.write_text("rpc: {\n")
    assert len(faults_of(file=broken).splitlines()) == 1


@pytest.mark.parametrize("address", ["10.0.0.1:7601", "0.0.0.0:7601", "[::]:7601", "a.b:1"])
def test_a_lane_that_other_hosts_reach_must_be_called_insecure(address: str) -> None:
    text = faults_of(flags={"lane.addresses": address})
    assert "no TLS" in text
    assert "--fast-lane-insecure" in text
    loaded = config.load(flags={"lane.addresses": address, "lane.insecure": "true"})
    assert loaded.lane.addresses == (address,)


@pytest.mark.parametrize(
    "address", ["unix:/run/lane", "unix:///run/lane", "127.0.0.1:0", "[::1]:1", "localhost:1"]
)
def test_a_lane_of_this_host_needs_no_more(address: str) -> None:
    assert config.load(flags={"lane.addresses": address}).lane.addresses == (address,)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("addresses", "unix:", "unix:/path"),
        ("addresses", "127.0.0.1", "host:port"),
        ("mode", "0999", "octal"),
        ("mode", "rw", "octal"),
        ("owner", "a:b:c", "user:group"),
        ("cpus", "1,1", "each once"),
        ("cpus", "1,x", "whole numbers"),
        ("cpus", "-1", "0 to 4095"),
        ("peer_uids", "4294967295", "0 to 4294967294"),
        ("threads", "65", "0 to 64"),
    ],
)
def test_faulty_settings_of_the_lane_are_refused(key: str, value: str, fault: str) -> None:
    text = faults_of(flags={f"lane.{key}": value})
    assert f"lane.{key}" in text
    assert fault in text


def test_a_lane_has_a_thread_for_each_cpu() -> None:
    def lane(**flags: str) -> config.Lane:
        return config.load(flags={f"lane.{key}": value for key, value in flags.items()}).lane

    assert (lane().thread_count, lane().cpus_of(0)) == (1, ())
    assert lane(cpus="3, 5").thread_count == 2
    assert [lane(cpus="3,5", threads="3").cpus_of(i) for i in range(3)] == [(3,), (5,), (3,)]
    assert "2 for 1 threads" in faults_of(flags={"lane.cpus": "1,2", "lane.threads": "1"})


@pytest.mark.parametrize("address", ["9600", "unix:/tmp/pages"])
def test_pages_are_served_over_tcp_alone(address: str) -> None:
    text = faults_of(flags={"telemetry.address": address})
    assert text == f"telemetry.address: {address!r}, allowed: host:port or [ipv6]:port"
