//! Features that only Kata has: its own check of the host, and guests that boot other files than those of the other
//! tests.

use super::process::parse_facts;
use crate::capability::Capability;
use crate::check::Check;
use crate::ensure;
use crate::environment::{Container, Containers, GuestFiles};
use crate::row::{Row, row};
use crate::test::Place;
use model::words::list_and;

const SOURCE: &str = include_str!("guests.rs");

pub(super) static ROWS: &[Row] = &[
    // The check boots nothing, and is most useful if no container starts.
    row!(Containers(katas_own_check_accepts_the_host), &[Capability::KataCheck], Kernel)
        .places(&[Place::Kata])
        .blocked_by(&[]),
    row!(Containers(an_initrd_of_the_distros_tool_boots), &[Capability::KataInitrd], Kernel)
        .places(&[Place::Kata])
        .seconds(600),
    row!(Containers(a_guest_runs_katas_own_kernel), &[Capability::KataKernel], Qemu)
        .places(&[Place::Kata])
        .seconds(240),
    row!(Containers(katas_own_image_boots), &[Capability::KataImage], Qemu).places(&[Place::Kata]).seconds(600),
];

/// `kata-runtime check`, or `kata-ctl check`, finds this machine fit for Kata; its network checks are switched off.
///
/// The host suite applies the same rules whether or not Kata is installed; this test shows the verdict of Kata's own
/// tool. Its rules are in src/runtime/cmd/kata-runtime/kata-check_amd64.go@4.1.0 and
/// src/tools/kata-ctl/src/arch/x86_64/mod.rs@4.1.0.
fn katas_own_check_accepts_the_host(containers: &dyn Containers) -> Check {
    let finished = containers.run_katas_check()?;
    ensure!(finished.code == 0, "Kata's own check of the host: {}", finished.summary());
    Ok(())
}

/// The distro's own initramfs tool makes an initrd with Kata's agent in it, and a container runs in a guest that boots
/// this initrd and the release's kernel.
///
/// The harness makes the initrd of the other tests; this one has the distro's init, udev and modules up to the moment
/// when Kata's agent takes over as process 1. Kata's osbuilder makes initrds with a distro's dracut, too
/// (tools/osbuilder/README.md@4.1.0).
fn an_initrd_of_the_distros_tool_boots(containers: &dyn Containers) -> Check {
    let finished = containers.run_with(GuestFiles::DistrosInitrd, &Container::new(&["facts"]))?;
    let facts = parse_facts(&finished)?;
    let claimed = &containers.claims().kernel;
    ensure!(claimed == facts.kernel.as_str(), "the guest's kernel is {}, the release's is {claimed}", facts.kernel);
    Ok(())
}

/// A container runs in a guest of Kata's own kernel and initrd, under the distro's VMM: the kernel that it sees is the
/// one in the given file.
///
/// This smoke test distinguishes a fault of the distro's kernel from one of its VMM. Kata builds that kernel with
/// tools/packaging/kernel/build-kernel.sh@4.1.0.
fn a_guest_runs_katas_own_kernel(containers: &dyn Containers) -> Check {
    let finished = containers.run_with(GuestFiles::Katas, &Container::new(&["facts"]))?;
    let facts = parse_facts(&finished)?;
    let claims = containers.claims();
    let own = claims.kata_for(&containers.profile().name).and_then(|kata| kata.own.as_ref());
    let file = own.map(|own| own.kernel.as_str()).unwrap_or_default();
    match std::fs::read(file).ok().and_then(|image| release_of(&image)) {
        Some(release) => {
            ensure!(facts.kernel == release, "the guest's kernel is {}, the one given is {release}", facts.kernel);
        }
        None => {
            containers.note(format!("{file} does not say of which release it is"));
            let distros = &claims.kernel;
            ensure!(distros != facts.kernel.as_str(), "the guest's kernel is the release's: {distros}");
        }
    }
    let host = containers.read_host("/proc/sys/kernel/random/boot_id")?;
    ensure!(facts.boot_id != host.trim(), "the boot id inside is the host's: there is no virtual machine");
    containers.note(format!("Kata's own kernel {}", facts.kernel));
    Ok(())
}

/// Returns the release of the kernel in a file, a bzImage or an uncompressed kernel.
fn release_of(image: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let text = if image.get(0x202..0x206) == Some(&b"HdrS"[..]) {
        // `kernel_version` of Linux's boot protocol: the place of the text, counted from the second sector.
        let place = image.get(0x20e..0x210)?;
        image.get(0x200 + usize::from(u16::from_le_bytes([place[0], place[1]]))..)?
    } else {
        let starts = |bytes: &[u8]| bytes.starts_with(BANNER) && bytes.last().is_some_and(u8::is_ascii_digit);
        let at = image.windows(BANNER.len() + 1).position(starts)?;
        image.get(at + BANNER.len()..)?
    };
    let word: Vec<u8> = text.iter().copied().take(64).take_while(u8::is_ascii_graphic).collect();
    String::from_utf8(word).ok().filter(|word| !word.is_empty())
}

/// A container runs in a guest of Kata's own kernel and image, which replaces the initrd, under the distro's VMM.
///
/// Kata's configuration names these files as shipped: the image is an NVDIMM or a disk, the kernel mounts its first
/// partition by a built-in driver, and systemd in the image starts the agent (`appendImage` in
/// `src/runtime/virtcontainers/qemu_arch_base.go@4.1.0`, `new_rootfs_kernel_params` in
/// `src/runtime-rs/crates/hypervisor/src/kernel_param.rs@4.1.0`). A distro's kernel has these drivers as modules, so
/// the image is tried with Kata's own kernel only.
fn katas_own_image_boots(containers: &dyn Containers) -> Check {
    let finished = containers.run_with(GuestFiles::KatasImage, &Container::new(&["read", "/proc/cmdline"]))?;
    let (guest, host) = (finished.text(), containers.read_host("/proc/cmdline")?);
    ensure!(guest != host.trim(), "the kernel's command line is the host's: there is no virtual machine");
    let root = guest.split(' ').find_map(|word| word.strip_prefix("root="));
    ensure!(
        root.is_some_and(|device| ROOTS.contains(&device)),
        "the guest's root filesystem is to be one of {}, and its kernel was given: {}",
        list_and(ROOTS),
        finished.summary()
    );
    containers.note(format!("the guest's root filesystem is {}", root.unwrap_or_default()));
    Ok(())
}

/// The names of an image's first partition, as an NVDIMM and as a disk.
const ROOTS: [&str; 2] = ["/dev/pmem0p1", "/dev/vda1"];

#[cfg(test)]
mod tests {
    use super::release_of;

    #[test]
    fn a_kernels_file_says_its_release() {
        let mut compressed = vec![0; 0x600];
        compressed[0x202..0x206].copy_from_slice(b"HdrS");
        compressed[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        compressed[0x500..0x50f].copy_from_slice(b"6.18.5 (builder");
        assert_eq!(release_of(&compressed).as_deref(), Some("6.18.5"));
        let plain = b"\x7fELF Linux version %s (%s) Linux version 6.12.47-kata (builder)\0";
        assert_eq!(release_of(plain).as_deref(), Some("6.12.47-kata"));
        for other in [&b""[..], &b"no kernel"[..], &compressed[..0x20f]] {
            assert_eq!(release_of(other), None);
        }
    }
}
