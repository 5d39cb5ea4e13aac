//! Kata's measured image: the guest's kernel checks its data by hashes, and the root hash is on the kernel's command
//! line.
//!
//! Kata's own kernel creates the dm-verity device itself, before it mounts the root filesystem on it. A distro's kernel
//! has the device mapper in a module and does not parse `dm-mod.create=`, so the harness's agent creates the device
//! from Kata's own text.

mod hashes;

use super::BOOTS;
use super::guest_files::read;
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{Answer, EnvironmentSide, Machine, Question, Setting};
use crate::row::{Row, row};
use crate::scratch::Scratch;
use crate::test::Place;
use hashes::{BLOCK, Hashes};
use model::hex::hex;
use model::profile::{ImageDriver, ModuleUse};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const SOURCE: &str = include_str!("verity.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Environment(only_blocks_with_their_hashes_are_read), &[Capability::KernelVerity], Kernel)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .seconds(180)];

/// The number of data blocks: their hashes take two blocks, and the hashes of those one more.
const BLOCKS: usize = 200;
/// The block that is changed in one of the copies.
const CHANGED: usize = 77;
const SECTOR: u64 = 512;
/// The first sectors of the partitions: the data, its hashes, and the data with one byte changed.
const PARTITIONS: [u32; 3] = [2048, 4096, 6144];
/// The disk's size, a whole section of the guest's memory, like that of Kata's image.
const BYTES: u64 = 128 << 20;

/// Through dm-verity the kernel reads a disk if all hashes are right. It refuses with EIO to read a block with a
/// changed byte, and reads the others of that disk; it refuses with EIO to read anything if the root hash is a
/// different one.
///
/// Kata measures its image this way: `kernel_verity_params` becomes `dm-mod.create=` and `root=/dev/dm-0` on the
/// guest's command line (`GetKernelRootParams` in src/runtime/virtcontainers/hypervisor.go@4.1.0,
/// src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0). A kernel that reads changed data measures nothing.
fn only_blocks_with_their_hashes_are_read(env: &dyn EnvironmentSide) -> Check {
    let missing = env.claims().modules.get(&ModuleUse::Verity).map(|set| set.missing.join(", "));
    let missing = missing.unwrap_or_default();
    ensure!(missing.is_empty(), "the kernel {} has no {missing}", env.claims().kernel);
    let data = words();
    let hashes = Hashes::of(data.as_bytes());
    let disk = disk_of(data.as_bytes(), &hashes).map_err(|e| Stop::error(format!("making a disk: {e}")))?;
    let mut machine = env.boot_with(Setting::Image { file: disk.0.clone(), driver: ImageDriver::Blk })?;
    machine.load_modules(ModuleUse::Verity)?;
    is_checked(machine.as_mut(), &data, &hashes)
}

/// Checks the three devices, of which only the first can be read.
fn is_checked(machine: &mut dyn Machine, data: &str, hashes: &Hashes) -> Check {
    let map = |machine: &mut dyn Machine, name: &str, partition: u32, root: &[u8]| {
        let create = created(name, partition, root, hashes);
        machine.ask(Question::MapDevice { create })?.text("making a device with hashes in the guest").map(drop)
    };
    map(machine, "dm-verity", 1, &hashes.root)?;
    let seen = read(machine, "/dev/dm-0")?;
    ensure!(
        seen == data,
        "what the guest reads through right hashes differs from the {} bytes of the disk",
        data.len()
    );
    let mut other = hashes.root;
    other[0] ^= 1;
    map(machine, "changed", 3, &hashes.root)?;
    let intact = block(machine, "/dev/dm-1", 0)?.text("reading an intact block through dm-verity in the guest")?;
    ensure!(intact == data[..BLOCK], "an intact block of a disk with a changed one differs from the disk's");
    is_refused(block(machine, "/dev/dm-1", CHANGED)?, "a block of which a byte was changed")?;
    map(machine, "other", 1, &other)?;
    is_refused(block(machine, "/dev/dm-2", 0)?, "data with another root hash")
}

/// Reads a block of a device.
fn block(machine: &mut dyn Machine, device: &str, number: usize) -> Result<Answer, Stop> {
    let offset = (number * BLOCK) as u64;
    machine.ask(Question::ReadPart { path: device.to_owned(), offset, bytes: BLOCK as u32 })
}

/// Checks that reading was refused with EIO, the error of dm-verity: another one would not be about hashes.
fn is_refused(answer: Answer, what: &str) -> Check {
    match answer.text("reading") {
        Ok(_) => Err(Stop::fail(format!("the guest has read {what} through dm-verity"))),
        Err(Stop::Fail { message, .. }) => {
            let is_eio = message.contains(&format!("(os error {})", Errno::IO.raw_os_error()));
            ensure!(is_eio, "the guest was to be refused {what} with EIO, it got: {message}");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// Returns the device's description as in Kata's kernel parameter.
fn created(name: &str, partition: u32, root: &[u8], hashes: &Hashes) -> String {
    let sectors = BLOCKS as u64 * BLOCK as u64 / SECTOR;
    let (root, salt) = (hex(root), hex(&hashes.salt));
    format!(
        "{name},,,ro,0 {sectors} verity 1 /dev/vda{partition} /dev/vda2 {BLOCK} {BLOCK} {BLOCKS} 0 sha256 {root} {salt}"
    )
}

/// Returns the data: numbered lines.
fn words() -> String {
    (0..BLOCKS * BLOCK / 16).map(|number| format!("line {number:010}\n")).collect()
}

/// Creates a disk with the partitions.
fn disk_of(data: &[u8], hashes: &Hashes) -> io::Result<Scratch> {
    let disk = Scratch::new("verity");
    let file = File::create_new(&disk.0)?;
    file.set_len(BYTES)?;
    file.write_all_at(&table(), 0)?;
    let mut changed = data.to_vec();
    changed[CHANGED * BLOCK + 100] ^= 1;
    for (content, begin) in [data, &hashes.tree, &changed].into_iter().zip(PARTITIONS) {
        file.write_all_at(content, u64::from(begin) * SECTOR)?;
    }
    Ok(disk)
}

/// Returns a partition table with a Linux partition of 1 MiB at each position.
fn table() -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    for (at, begin) in PARTITIONS.into_iter().enumerate() {
        let entry = &mut sector[446 + at * 16..462 + at * 16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&begin.to_le_bytes());
        entry[12..16].copy_from_slice(&2048_u32.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::message;
    use crate::smoke::fake_machine::FakeMachine;

    /// What a guest reads, or its error.
    type Read<'a> = Result<&'a str, &'a str>;

    #[test]
    fn a_kernel_that_checks_nothing_is_found() {
        let data = words();
        assert_eq!(data.len(), BLOCKS * BLOCK);
        let hashes = Hashes::of(data.as_bytes());
        let eio = "I/O error (os error 5)";
        // What the guest reads: the first disk, an intact block, the changed one, a block under another root hash.
        let checked_with = |whole: &str, intact: Read<'_>, changed: Read<'_>, other: Read<'_>| {
            let mut machine = FakeMachine::of("go-3.32");
            machine.files.insert("/dev/dm-0".to_owned(), whole.to_owned());
            let reads = [("/dev/dm-1", 0, intact), ("/dev/dm-1", CHANGED * BLOCK, changed), ("/dev/dm-2", 0, other)];
            let reads = reads.map(|(device, offset, answer)| {
                let answer = match answer {
                    Ok(text) => Answer::Text { text: text.to_owned() },
                    Err(message) => Answer::Failed { message: message.to_owned() },
                };
                (device, offset as u64, answer)
            });
            machine.answers = Box::new(move |question| match question {
                Question::ReadPart { path, offset, .. } => {
                    let read = reads.iter().find(|(device, at, _)| path == device && offset == at);
                    read.map(|(_, _, answer)| answer.clone())
                }
                _ => None,
            });
            is_checked(&mut machine, &data, &hashes)
        };
        let first = &data[..BLOCK];
        assert_eq!(checked_with(&data, Ok(first), Err(eio), Err(eio)), Ok(()));
        let none = "No such file or directory (os error 2)";
        for (check, word) in [
            (checked_with("other", Ok(first), Err(eio), Err(eio)), "differs"),
            (checked_with(&data, Err(eio), Err(eio), Err(eio)), "reading an intact block"),
            (checked_with(&data, Ok("other"), Err(eio), Err(eio)), "an intact block of a disk"),
            (checked_with(&data, Ok(first), Ok(first), Err(eio)), "has read a block of which a byte was changed"),
            (checked_with(&data, Ok(first), Err(none), Err(eio)), "with EIO, it got"),
            (checked_with(&data, Ok(first), Err(eio), Ok(first)), "has read data with another root hash"),
        ] {
            let error = message(check);
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_dm_mod_create_parameter_has_katas_form() {
        let hashes = Hashes { root: [0xab; 32], salt: [0x01; 32], tree: Vec::new() };
        let expected = format!(
            "dm-verity,,,ro,0 1600 verity 1 /dev/vda1 /dev/vda2 4096 4096 200 0 sha256 {} {}",
            "ab".repeat(32),
            "01".repeat(32)
        );
        assert_eq!(created("dm-verity", 1, &hashes.root, &hashes), expected);
    }
}
