"""What tests share: servers, hosts, a stand-in for a device."""
