"""What pods may reach is what the service itself calls public."""

import re
from ipaddress import IPv6Network, ip_address, ip_network

import pytest

from service.fetch.addresses import GLOBAL_UNICAST, NAT64, SPECIAL_IPV4, SPECIAL_IPV6, is_public
from tests.deploy.manifests import JOBS, K8S, Object, at, build, each, mapping, of_kind, pod_template, read, text

INTERNET = {str(ip_network("0.0.0.0/0")), str(GLOBAL_UNICAST), str(NAT64)}
BEHIND_NAT64 = [IPv6Network((int(NAT64[0]) | int(network[0]), 96 + network.prefixlen)) for network in SPECIAL_IPV4]
REFUSED = {
    "0.0.0.0/0": {str(network) for network in SPECIAL_IPV4},
    str(GLOBAL_UNICAST): {str(network) for network in SPECIAL_IPV6},
    str(NAT64): {str(network) for network in BEHIND_NAT64},
}


def policies() -> list[Object]:
    jobs = [item for name in JOBS for item in of_kind(read(K8S / "jobs" / name), "NetworkPolicy")]
    return of_kind(build(K8S / "base"), "NetworkPolicy") + jobs


def blocks(policy: Object) -> dict[str, set[str]]:
    """Of the egress rules: networks that may be reached, but for these."""
    found = [block for rule in each(policy, "spec", "egress") for block in each(rule, "to") if at(block, "ipBlock")]
    return {
        text(block, "ipBlock", "cidr"): set(re.findall(r"[\da-f:.]+/\d+", text(block, "ipBlock", "except")))
        for block in found
    }


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: text(policy, "metadata", "name"))
def test_a_policy_keeps_pods_from_the_addresses_that_the_service_refuses(policy: Object) -> None:
    reached = blocks(policy)
    if text(policy, "metadata", "name") in ("salver-load", "salver-photos"):
        assert reached == {}
    else:
        assert reached == REFUSED


@pytest.mark.parametrize(
    "address",
    ["168.63.129.16", "192.0.0.192", "198.18.0.1", "169.254.169.254", "10.0.0.1", "64:ff9b::a9fe:a9fe", "fd00::1",
     "::1", "fe80::1", "93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "64:ff9b:1::1"],
)  # fmt: skip
def test_policy_and_service_agree_on_an_address(address: str) -> None:
    where = ip_address(address)
    reached = blocks(policies()[0])
    allowed = any(
        where in ip_network(cidr) and not any(where in ip_network(inner) for inner in refused)
        for cidr, refused in reached.items()
        if ip_network(cidr).version == where.version
    )
    assert allowed == is_public(where)


@pytest.mark.parametrize("name", [name for name in JOBS if name != "claims.yaml"])
def test_every_jobs_pods_have_a_policy(name: str) -> None:
    objects = read(K8S / "jobs" / name)
    (policy,) = of_kind(objects, "NetworkPolicy")
    assert at(policy, "spec", "policyTypes") == ["Ingress", "Egress"]
    for job in of_kind(objects, "Job"):
        labels = mapping(pod_template(job), "metadata", "labels")
        assert mapping(policy, "spec", "podSelector", "matchLabels").items() <= labels.items()
        for expression in each(policy, "spec", "podSelector", "matchExpressions"):
            assert labels[text(expression, "key")] in at(expression, "values")  # type: ignore[operator]


def test_the_load_test_reaches_the_service_at_the_port_that_it_listens_on() -> None:
    (policy,) = of_kind(read(K8S / "jobs" / "load-test.yaml"), "NetworkPolicy")
    (deployment,) = of_kind(build(K8S / "base"), "Deployment")
    labels = mapping(pod_template(deployment), "metadata", "labels")
    rule = each(policy, "spec", "egress")[-1]
    assert mapping(rule, "to", 0, "podSelector", "matchLabels").items() <= labels.items()
    assert at(rule, "ports", 0, "port") == at(
        pod_template(deployment), "spec", "containers", 0, "ports", 0, "containerPort"
    )
