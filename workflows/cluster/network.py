"""The network interface that training workers on several nodes use to reach each other.

On the CPU, workers communicate through gloo, which listens on the address of the machine's host name. On
Debian that is 127.0.1.1, which other machines cannot reach, and the workers would wait for each other
forever.
"""

from __future__ import annotations

import os

import psutil
import ray

INTERFACE_VARIABLE = "GLOO_SOCKET_IFNAME"


def use_cluster_network() -> None:
    """Let gloo use the interface by which Ray knows this node, unless the user has chosen one."""
    name = interface(ray.util.get_node_ip_address())
    if name is not None:
        os.environ.setdefault(INTERFACE_VARIABLE, name)


def interface(address: str) -> str | None:
    """Name of the network interface with this IP address; None if there is none."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            return str(name)
    return None
