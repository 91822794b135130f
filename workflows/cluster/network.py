"""Training workers on several nodes find one another.

On the CPU they talk through gloo, which listens where a machine's own name leads. On Debian and its kin
that is 127.0.1.1, at which nobody else finds it, and the first worker would wait for ever.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any

import ray
import ray.train.torch

VARIABLE = "GLOO_SOCKET_IFNAME"
ADDRESS_OF = 0x8915  # Linux: SIOCGIFADDR


class _Backend(ray.train.torch.TorchConfig().backend_cls):  # type: ignore[misc]
    """Ray Train's own, but gloo is told first which network to use."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Connect the workers of a group that has just been started."""
        if len(set(worker_group.execute(ray.util.get_node_ip_address))) > 1:
            worker_group.execute(use_cluster_network)
        super().on_start(worker_group, backend_config)


class Peers(ray.train.torch.TorchConfig):
    """How the workers of a training run are connected."""

    @property
    def backend_cls(self) -> type[_Backend]:
        """What connects them."""
        return _Backend


def use_cluster_network() -> None:
    """Have gloo use the network by which Ray knows this node, if the user has not chosen one."""
    name = interface(ray.util.get_node_ip_address())
    if name is not None:
        os.environ.setdefault(VARIABLE, name)


def interface(address: str) -> str | None:
    """Name of the network interface with this IPv4 address; None if unknown, as outside of Linux."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, ADDRESS_OF, struct.pack("256s", name.encode()))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
