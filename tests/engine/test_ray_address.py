"""An address at which no cluster listens is refused soon."""

import socket

import pytest

from conceptaudit.engine.ray_cluster import check_address
from conceptaudit.errors import ConfigError


def test_nothing_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ConfigError, match=r"Nothing answers at --ray-address .* 10 seconds"):
            check_address(address)


@pytest.mark.parametrize("address", ["", "head", "head:", "head:http", "ray://", ":"])
def test_an_address_has_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1:99999999", f"{'a' * 70}.invalid:6379"])
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(ConfigError, match="Nothing answers"):
        check_address(address)


def test_a_port_that_listens_is_left_to_ray() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")
