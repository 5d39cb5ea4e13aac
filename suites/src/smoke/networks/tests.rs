//! The bodies tried natively: as root, on a kernel with nftables, bridges, taps, VXLAN and macvlan.

use super::*;
use crate::check::message;

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn bodies_pass_on_a_working_kernel() {
    for body in [
        guest_filters_packets_by_nftables,
        guest_translates_addresses_by_nftables,
        guest_bridges_pairs_of_interfaces,
        guest_has_tap_interfaces,
        guest_tunnels_by_vxlan,
        guest_shares_an_interface_by_macvlan,
    ] {
        assert_eq!(body(), Ok(()));
    }
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_rule_that_does_nothing_is_found() {
    let none = || message(Namespace::new().unwrap().run(|| filters(|_| Ok(()))));
    assert_eq!(none(), "a rule drops what goes to port 7001, and 8 packets of 8 came through");
    let another = message(Namespace::new().unwrap().run(|| filters(|rules| rules.drop_to(9))));
    assert_eq!(another, none());
    let refused = message(Namespace::new().unwrap().run(|| filters(|_| Err(std::io::Error::from_raw_os_error(95)))));
    assert_eq!(refused, "loading a rule of nftables: Operation not supported (os error 95)");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn a_bridge_without_a_port_carries_nothing() {
    let error = message(Namespace::new().unwrap().run(|| bridges(&["q1"])));
    assert_eq!(error, "of 8 packets that were sent over a bridge, 0 came back unchanged");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn tunnels_with_other_numbers_carry_nothing() {
    assert_eq!(message(tunnels(42, 43)), "of 8 packets that were sent through a VXLAN, 0 came back unchanged");
}

#[test]
#[cfg_attr(lacks = "mounting", ignore = "needs root that may mount")]
fn macvlans_that_bridge_nothing_do_not_reach_each_other() {
    let error = message(Namespace::new().unwrap().run(|| macvlans(MacvlanMode::Private)));
    assert_eq!(error, "of 8 packets that m1 sent to a macvlan, 0 came back unchanged");
}
