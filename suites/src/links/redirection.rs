//! Traffic control as Kata sets it up between a pod's interface and a tap (linux/pkt_sched.h, linux/pkt_cls.h,
//! linux/tc_act/tc_mirred.h).

use super::Links;
use crate::netlink::{ALONE, Attributes, CREATE, Message};
use crate::packets;
use std::io;

pub(super) const NEW_DISCIPLINE: u16 = 36;
const NEW_FILTER: u16 = 44;

/// `TC_H_INGRESS`, the parent of an ingress discipline, and the discipline's handle.
const INGRESS: u32 = 0xffff_fff1;
const HANDLE: u32 = 0xffff_0000;

// Attributes of both disciplines and filters.
pub(super) const KIND: u16 = 1;
pub(super) const OPTIONS: u16 = 2;
// Attributes of a u32 filter, and of an action.
const SELECTOR: u16 = 5;
const ACTIONS: u16 = 7;
const FIRST: u16 = 1;
const PARAMETERS: u16 = 2;

/// `TC_U32_TERMINAL`: a matching packet goes to no other filter.
const TERMINAL: u8 = 1;
/// `TC_ACT_STOLEN`: the packet is not processed any further.
const STOLEN: i32 = 4;
/// `TCA_EGRESS_REDIR`.
const REDIRECT: i32 = 1;
/// `ETH_P_ALL`.
const EVERYTHING: u16 = 3;

impl Links {
    /// Redirects all packets that arrive at one interface to another one:
    /// `tc qdisc add dev FROM ingress` and
    /// `tc filter add dev FROM parent ffff: protocol all u32 match u8 0 0 action mirred egress redirect dev TO`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn redirect(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (packets::index(from)?, packets::index(to)?);
        let discipline = head(from, HANDLE, INGRESS, 0).text(KIND, "ingress");
        self.0.ask(&[message(NEW_DISCIPLINE, discipline)], None)?;
        let action = Attributes::default()
            .text(KIND, "mirred")
            .nest(OPTIONS, Attributes::default().put(PARAMETERS, &redirection(to)));
        let options =
            Attributes::default().put(SELECTOR, &everything()).nest(ACTIONS, Attributes::default().nest(FIRST, action));
        // The kernel chooses the filter's priority.
        let filter = head(from, 0, HANDLE, u32::from(EVERYTHING.to_be())).text(KIND, "u32").nest(OPTIONS, options);
        self.0.ask(&[message(NEW_FILTER, filter)], None)
    }
}

pub(super) fn message(kind: u16, body: Attributes) -> Message {
    Message { kind, flags: CREATE | ALONE, body: body.bytes() }
}

/// Returns a `struct tcmsg`.
pub(super) fn head(interface: i32, handle: u32, parent: u32, info: u32) -> Attributes {
    let numbers = [handle, parent, info].map(u32::to_ne_bytes).concat();
    Attributes::behind(&[&[0; 4][..], &interface.to_ne_bytes(), &numbers].concat())
}

/// Returns a `struct tc_u32_sel` with one key that every packet matches: it compares no bit of the first word.
fn everything() -> Vec<u8> {
    let head = [TERMINAL, 0, 1, 0];
    [&head[..], &[0; 12], &[0; 16]].concat()
}

/// Returns a `struct tc_mirred`.
fn redirection(to: i32) -> Vec<u8> {
    let numbers = [0, 0, STOLEN, 0, 0, REDIRECT, to];
    numbers.map(i32::to_ne_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structures have the sizes given in the kernel's headers.
    #[test]
    fn messages_have_the_sizes_of_the_kernels_structures() {
        assert_eq!(head(1, 2, 3, 4).bytes().len(), 20);
        assert_eq!(everything().len(), 16 + 16);
        assert_eq!(redirection(7).len(), 28);
        assert_eq!(redirection(7)[24..], 7_i32.to_ne_bytes());
    }
}
