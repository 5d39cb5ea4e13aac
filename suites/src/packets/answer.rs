//! The peer of a guest's interface: it sends test packets and UDP over IPv4 and IPv6 back, and answers the address
//! resolution that precedes UDP.

use super::TYPE;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The guest's addresses; both networks are for documentation (RFC 5737, RFC 3849).
pub(super) const GUEST: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 2), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
/// The peer's addresses.
pub(super) const PEER: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// The peer's port: the echo service's (RFC 862).
pub(super) const PORT: u16 = 7;
/// The peer's hardware address.
const HARDWARE: [u8; 6] = [0x02, 0x00, 0xca, 0xfe, 0xff, 0x01];

const ETHERNET: usize = 14;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// Returns the answer to a frame; `None` if the frame asks nothing of the peer.
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let kind = u16::from_be_bytes(frame.get(12..ETHERNET)?.try_into().ok()?);
    let mut back = frame.to_vec();
    match kind {
        // The frame was a broadcast, and nothing forwards a frame from the broadcast address.
        TYPE => {}
        ARP => arp(&mut back[ETHERNET..])?,
        IPV4 => ipv4(&mut back[ETHERNET..])?,
        IPV6 => ipv6(&mut back[ETHERNET..])?,
        _ => return None,
    }
    back.copy_within(6..12, 0);
    back[6..12].copy_from_slice(&HARDWARE);
    Some(back)
}

/// Swaps two parts of a packet of the same length.
fn swap(packet: &mut [u8], first: usize, second: usize, length: usize) {
    for at in 0..length {
        packet.swap(first + at, second + at);
    }
}

/// Answers a query for the owner of an address (RFC 826).
fn arp(packet: &mut [u8]) -> Option<()> {
    let request = [0, 1, 8, 0, 6, 4, 0, 1];
    if packet.len() < 28 || packet[..8] != request || packet[24..28] != PEER.0.octets() {
        return None;
    }
    packet[7] = 2;
    swap(packet, 8, 18, 10);
    packet[8..14].copy_from_slice(&HARDWARE);
    Some(())
}

fn ipv4(packet: &mut [u8]) -> Option<()> {
    // No options and no fragments.
    let length = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let is_ours = packet.len() >= length && length >= 28 && packet[0] == 0x45 && packet[9] == UDP;
    if !is_ours || packet[16..20] != PEER.0.octets() || u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0 {
        return None;
    }
    swap(packet, 12, 16, 4);
    let (header, body) = packet[..length].split_at_mut(20);
    udp(&header[12..20], body)
}

fn ipv6(packet: &mut [u8]) -> Option<()> {
    let length = usize::from(u16::from_be_bytes(packet.get(4..6)?.try_into().ok()?));
    if packet.len() < 40 + length || length < 8 {
        return None;
    }
    let (header, body) = packet[..40 + length].split_at_mut(40);
    match header[6] {
        UDP if header[24..40] == PEER.1.octets() => {
            swap(header, 8, 24, 16);
            udp(&header[8..40], body)
        }
        ICMPV6 if body[0] == NEIGHBOUR_SOLICITATION && body.len() >= 24 && body[8..24] == PEER.1.octets() => {
            header.copy_within(8..24, 24);
            header[8..24].copy_from_slice(&PEER.1.octets());
            body[0] = NEIGHBOUR_ADVERTISEMENT;
            // Solicited, and overriding any older entry; the option has the peer's hardware address.
            body[4..8].copy_from_slice(&[0x60, 0, 0, 0]);
            if body.len() < 32 {
                return None;
            }
            body[24..26].copy_from_slice(&[2, 1]);
            body[26..32].copy_from_slice(&HARDWARE);
            set_checksum(&header[8..40], ICMPV6, body, 2);
            Some(())
        }
        _ => None,
    }
}

/// Sends a datagram back. Its checksum is computed again, because a sender may leave it to its device.
fn udp(addresses: &[u8], body: &mut [u8]) -> Option<()> {
    if body[2..4] != PORT.to_be_bytes() {
        return None;
    }
    swap(body, 0, 2, 2);
    set_checksum(addresses, UDP, body, 6);
    Some(())
}

/// Writes the checksum over body and pseudo-header (RFC 768, RFC 8200 section 8.1) at its offset in the body.
fn set_checksum(addresses: &[u8], protocol: u8, body: &mut [u8], at: usize) {
    body[at..at + 2].fill(0);
    let length = u32::try_from(body.len()).unwrap_or(0);
    let mut sum = u32::from(protocol) + length;
    for part in [addresses, body] {
        sum += part.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum::<u32>();
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = match !u16::try_from(sum).unwrap_or(0) {
        0 => 0xffff,
        other => other,
    };
    body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(kind: u16, packet: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &OWN, &kind.to_be_bytes(), packet].concat()
    }

    /// Returns a datagram to the peer whose sender has left the checksum to the device.
    fn datagram() -> Vec<u8> {
        let body = b"hello";
        let length = u16::try_from(8 + body.len()).unwrap().to_be_bytes();
        [&[0x9c, 0x40][..], &PORT.to_be_bytes(), &length, &[0, 0], body].concat()
    }

    /// Checks the checksum: the sum of the packet is all ones if it is right (RFC 1071).
    fn is_right(addresses: &[u8], protocol: u8, body: &[u8]) -> bool {
        let mut copy = body.to_vec();
        let at = if protocol == UDP { 6 } else { 2 };
        set_checksum(addresses, protocol, &mut copy, at);
        copy == body
    }

    #[test]
    fn only_test_packets_come_back_to_their_sender() {
        let back = answer(&frame(TYPE, b"payload")).unwrap();
        assert_eq!(back, [&OWN[..], &HARDWARE, &TYPE.to_be_bytes(), b"payload"].concat());
        assert_eq!(answer(&frame(0x88cc, b"payload")), None);
        for short in [&[][..], &[0; 13], &frame(IPV4, &[0x45, 0, 0xff]), &frame(IPV6, &[0x60; 6]), &frame(ARP, &[0; 8])]
        {
            assert_eq!(answer(short), None, "{short:?}");
        }
    }

    #[test]
    fn arp_is_answered_only_for_the_peers_address() {
        let ask = |address: Ipv4Addr| {
            let target = address.octets();
            let packet = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &OWN, &GUEST.0.octets(), &[0; 6], &target].concat();
            answer(&frame(ARP, &packet))
        };
        let reply = ask(PEER.0).unwrap();
        let expected = [
            &OWN[..],
            &HARDWARE,
            &ARP.to_be_bytes(),
            &[0, 1, 8, 0, 6, 4, 0, 2],
            &HARDWARE,
            &PEER.0.octets(),
            &OWN,
            &GUEST.0.octets(),
        ];
        assert_eq!(reply, expected.concat());
        assert_eq!(ask(Ipv4Addr::new(192, 0, 2, 9)), None);
    }

    #[test]
    fn a_datagram_over_ipv4_comes_back_with_a_right_checksum() {
        let body = datagram();
        let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let header =
            [&[0x45, 0][..], &length, &[0, 1, 0x40, 0, 64, UDP, 0xab, 0xcd], &GUEST.0.octets(), &PEER.0.octets()];
        let back = answer(&frame(IPV4, &[&header.concat()[..], &body].concat())).unwrap();
        let (header, body) = back[ETHERNET..].split_at(20);
        assert_eq!((&back[..6], &back[6..12]), (&OWN[..], &HARDWARE[..]));
        assert_eq!(header[12..20], [PEER.0.octets(), GUEST.0.octets()].concat());
        assert_eq!((&body[..4], &body[8..]), (&[0, 7, 0x9c, 0x40][..], &b"hello"[..]));
        // The header's own checksum is the same after its addresses are swapped.
        assert_eq!(header[10..12], [0xab, 0xcd]);
        assert!(body[6..8] != [0, 0] && is_right(&header[12..20], UDP, body));
    }

    #[test]
    fn a_neighbour_and_a_datagram_over_ipv6_are_answered() {
        let header = |next: u8, length: usize, to: Ipv6Addr| {
            let length = u16::try_from(length).unwrap().to_be_bytes();
            [&[0x60, 0, 0, 0][..], &length, &[next, 255], &GUEST.1.octets(), &to.octets()].concat()
        };
        let solicited: Ipv6Addr = "ff02::1:ff00:1".parse().unwrap();
        let ask = [&[NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &PEER.1.octets(), &[1, 1], &OWN].concat();
        let reply = answer(&frame(IPV6, &[header(ICMPV6, 32, solicited), ask].concat())).unwrap();
        let (ip, body) = reply[ETHERNET..].split_at(40);
        assert_eq!(ip[8..40], [PEER.1.octets(), GUEST.1.octets()].concat());
        assert_eq!((body[0], &body[24..]), (NEIGHBOUR_ADVERTISEMENT, &[&[2, 1][..], &HARDWARE].concat()[..]));
        assert!(is_right(&ip[8..40], ICMPV6, body));
        let sent = datagram();
        let back = answer(&frame(IPV6, &[header(UDP, sent.len(), PEER.1), sent.clone()].concat())).unwrap();
        let (ip, body) = back[ETHERNET..].split_at(40);
        assert_eq!((&ip[8..24], &body[8..]), (&PEER.1.octets()[..], &b"hello"[..]));
        assert!(is_right(&ip[8..40], UDP, body));
        assert_eq!(answer(&frame(IPV6, &[header(UDP, sent.len(), solicited), sent].concat())), None);
    }
}
