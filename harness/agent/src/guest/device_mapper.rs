//! Devices of the kernel's device mapper, made according to `dm-mod.create=` on the kernel's command line: a kernel
//! whose device mapper is a module does not evaluate that parameter itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;

/// Device on which the kernel accepts requests.
const CONTROL: &str = "/dev/mapper/control";
/// Size of `struct dm_ioctl` (linux/dm-ioctl.h), interface version 4, in bytes.
const HEADER: usize = 312;
/// Size of `struct dm_target_spec`, which precedes a target's parameters, in bytes.
const TARGET: usize = 40;
/// Offset and maximum length of a device's name in the header.
const NAME: (usize, usize) = (48, 128);

/// DM_DEV_CREATE, DM_TABLE_LOAD and DM_DEV_SUSPEND, which also resumes.
const CREATE: u8 = 3;
const LOAD: u8 = 9;
const RESUME: u8 = 6;
/// DM_READONLY_FLAG.
const READ_ONLY: u32 = 1;

/// Makes the device `name,uuid,minor,flags,table`; the kernel chooses the number.
///
/// # Errors
/// If the text is malformed, or the kernel refuses.
pub(super) fn create(parameter: &str) -> io::Result<()> {
    let device = MappedDevice::parse(parameter).ok_or_else(|| {
        io::Error::other(format!("expected name,uuid,minor,flags,begin length target …, got {parameter:?}"))
    })?;
    let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
    let doing = |what: &str| {
        let (what, name) = (what.to_owned(), device.name.to_owned());
        move |e: io::Error| io::Error::new(e.kind(), format!("{what} the device {name}: {e}"))
    };
    request(&control, CREATE, &mut device.header(&[])).map_err(doing("making"))?;
    request(&control, LOAD, &mut device.header(&device.target())).map_err(doing("loading the table of"))?;
    request(&control, RESUME, &mut device.header(&[])).map_err(doing("starting"))
}

/// A device with one target.
#[derive(Debug, PartialEq, Eq)]
struct MappedDevice<'a> {
    name: &'a str,
    read_only: bool,
    /// Begin and length in sectors.
    begin: u64,
    length: u64,
    kind: &'a str,
    parameters: &'a str,
}

impl MappedDevice<'_> {
    fn parse(parameter: &str) -> Option<MappedDevice<'_>> {
        let mut parts = parameter.splitn(5, ',');
        let (name, _, _, flags, table) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let mut words = table.splitn(4, ' ');
        let (begin, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (kind, parameters) = (words.next()?, words.next()?);
        let fits = !name.is_empty() && name.len() < NAME.1 && kind.len() < 16;
        fits.then_some(MappedDevice { name, read_only: flags == "ro", begin, length, kind, parameters })
    }

    /// Returns `struct dm_ioctl` for the device, followed by the payload.
    fn header(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut word = |at: usize, value: usize| {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        word(0, 4);
        word(12, HEADER + payload.len());
        word(16, HEADER);
        word(20, usize::from(!payload.is_empty()));
        word(28, if self.read_only { READ_ONLY as usize } else { 0 });
        bytes[NAME.0..NAME.0 + self.name.len()].copy_from_slice(self.name.as_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Returns `struct dm_target_spec` with the parameters, padded to a multiple of 8.
    fn target(&self) -> Vec<u8> {
        let mut bytes = vec![0; TARGET];
        bytes[0..8].copy_from_slice(&self.begin.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_ne_bytes());
        bytes[24..24 + self.kind.len()].copy_from_slice(self.kind.as_bytes());
        bytes.extend_from_slice(self.parameters.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let next = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[20..24].copy_from_slice(&next.to_ne_bytes());
        bytes
    }
}

/// Sends a request about a device to the kernel; the answer is ignored.
#[expect(unsafe_code, reason = "ioctl(2) has no safe form")]
fn request(control: &File, number: u8, buffer: &mut [u8]) -> io::Result<()> {
    // _IOWR(0xfd, number, struct dm_ioctl)
    let request_code = 3 << 30 | (HEADER as libc::c_ulong) << 16 | 0xfd << 8 | libc::c_ulong::from(number);
    // SAFETY: the buffer begins with a header that says how long it is, and the kernel writes no more than that.
    let answer = unsafe { libc::ioctl(control.as_raw_fd(), request_code, buffer.as_mut_ptr()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_device_is_read_from_katas_parameter() {
        let parameter = "dm-verity,,,ro,0 1600 verity 1 /dev/vda1 /dev/vda2 4096 4096 200 0 sha256 ab cd";
        let device = MappedDevice::parse(parameter).unwrap();
        assert_eq!((device.name, device.read_only, device.begin, device.length), ("dm-verity", true, 0, 1600));
        let (kind, parameters) = ("verity", "1 /dev/vda1 /dev/vda2 4096 4096 200 0 sha256 ab cd");
        assert_eq!((device.kind, device.parameters), (kind, parameters));
        for wrong in ["", "dm-verity", "dm-verity,,,ro,", ",,,ro,0 1 verity 1", "dm-verity,,,ro,x 1 verity 1"] {
            assert_eq!(MappedDevice::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_has_the_offsets_of_the_kernels_structures() {
        let device = MappedDevice::parse("dm-verity,,,ro,8 1600 verity 1 /dev/vda1").unwrap();
        let target = device.target();
        let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(target.len() % 8, 0);
        assert_eq!((&target[24..30], &target[40..51]), (&b"verity"[..], &b"1 /dev/vda1"[..]));
        assert_eq!((word(&target, 0), word(&target, 8), word(&target, 20)), (8, 1600, target.len()));
        let whole = device.header(&target);
        assert_eq!((word(&whole, 0), word(&whole, 12), word(&whole, 16)), (4, whole.len(), HEADER));
        assert_eq!((word(&whole, 20), word(&whole, 28)), (1, 1));
        assert_eq!(&whole[48..58], b"dm-verity\0");
        assert_eq!(&whole[HEADER..], target);
    }
}
