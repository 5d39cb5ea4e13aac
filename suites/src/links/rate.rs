//! A rate limit on packets that leave an interface, as Kata sets it (linux/pkt_sched.h).

use super::Links;
use super::redirection::{KIND, NEW_DISCIPLINE, OPTIONS, head, message};
use crate::netlink::Attributes;
use crate::packets;
use std::io;

const NEW_CLASS: u16 = 40;

/// `TC_H_ROOT`.
const ROOT: u32 = 0xffff_ffff;
/// The discipline (`1:`), the class of all packets (`1:1`), and the default class for packets without another one
/// (`1:2`).
const DISCIPLINE: u32 = 0x1_0000;
const ALL: u32 = 0x1_0001;
const REST: u32 = 0x1_0002;

// Options of a class, and of the discipline.
const PARAMETERS: u16 = 1;
const INIT: u16 = 2;

/// `TC_LINKLAYER_ETHERNET`: the kernel needs no table of transmission times.
const ETHERNET: u8 = 1;
/// The burst, bytes: the most that may leave at once, also from one class after another.
const BURST: u32 = 2000;
/// Nanoseconds per tick of the kernel's traffic control.
const TICK: u64 = 64;

impl Links {
    /// Limits the rate, bytes per second, at which packets leave an interface:
    /// `tc qdisc add dev INTERFACE root handle 1: htb default 2`,
    /// and two nested classes with that rate.
    ///
    /// # Errors
    /// The kernel's error.
    pub(crate) fn limit(&mut self, interface: &str, rate: u32) -> io::Result<()> {
        let index = packets::index(interface)?;
        let options = Attributes::default().put(INIT, &discipline());
        let made = head(index, DISCIPLINE, ROOT, 0).text(KIND, "htb").nest(OPTIONS, options);
        self.0.ask(&[message(NEW_DISCIPLINE, made)], None)?;
        for (parent, class) in [(DISCIPLINE, ALL), (ALL, REST)] {
            let options = Attributes::default().put(PARAMETERS, &class_of(rate));
            let made = head(index, class, parent, 0).text(KIND, "htb").nest(OPTIONS, options);
            self.0.ask(&[message(NEW_CLASS, made)], None)?;
        }
        Ok(())
    }
}

/// Returns a `struct tc_htb_glob`: the version, the divisor from rate to quantum, the default class.
fn discipline() -> Vec<u8> {
    [3, 10, REST & 0xffff, 0, 0].map(u32::to_ne_bytes).concat()
}

/// Returns a `struct tc_htb_opt` whose rate and ceiling are the same.
fn class_of(rate: u32) -> Vec<u8> {
    let ticks = u64::from(BURST) * 1_000_000_000 / u64::from(rate.max(1)) / TICK;
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    let numbers = [ticks, ticks, BURST, 0, 0].map(u32::to_ne_bytes).concat();
    [speed(rate), speed(rate), numbers].concat()
}

/// Returns a `struct tc_ratespec`.
fn speed(rate: u32) -> Vec<u8> {
    [&[0, ETHERNET, 0, 0, 0, 0, 0, 0][..], &rate.to_ne_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structures have the sizes given in the kernel's headers.
    #[test]
    fn messages_have_the_sizes_of_the_kernels_structures() {
        assert_eq!((discipline().len(), speed(1).len(), class_of(10_000).len()), (20, 12, 44));
        // A fifth of a second in ticks.
        assert_eq!(class_of(10_000)[24..28], (200_000_000_u32 / 64).to_ne_bytes());
    }
}
