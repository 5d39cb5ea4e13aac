use super::*;
use std::io::Write;

pub(crate) const ELF: &[u8] = b"\x7fELF a made-up module";

pub(crate) fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(ELF).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(ELF).unwrap();
    write("kernel/fs/fuse/fuse.ko.xz", &xz.finish().unwrap());
    write("kernel/fs/fuse/virtiofs.ko.zst", &zstd::encode_all(ELF, 1).unwrap());
    write("kernel/drivers/virtio/virtio.ko", ELF);
    write("kernel/drivers/virtio/virtio_ring.ko.gz", &gz.finish().unwrap());
    write("kernel/drivers/char/hw_random/virtio-rng.ko", ELF);
    write("kernel/lib/crc.ko", ELF);
    write("kernel/broken.ko", ELF);
    write("kernel/text.ko", b"#!/bin/sh");
    write(
        "modules.dep",
        b"kernel/fs/fuse/fuse.ko.xz:\n\
        kernel/fs/fuse/virtiofs.ko.zst: kernel/fs/fuse/fuse.ko.xz kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko.gz\n\
        kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko.gz\n\
        kernel/drivers/virtio/virtio_ring.ko.gz:\n\
        kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko.gz\n\
        kernel/lib/crc.ko:\n\
        kernel/broken.ko: kernel/gone.ko\n\
        kernel/gone.ko:\n\
        kernel/text.ko:\n",
    );
    write("modules.builtin", b"kernel/fs/ext4/ext4.ko\nkernel/drivers/char/hw-random.ko\n");
    write(
        "modules.softdep",
        b"# comment\nsoftdep virtio_rng pre: crc nothing post: fuse\nsoftdep crc pre: virtio-rng\n",
    );
    dir
}

fn loaded(found: &Resolution, limit: u64) -> Result<Vec<Vec<u8>>, Failure> {
    let mut all = Vec::new();
    load_up_to(found, limit, |_, bytes| {
        all.push(bytes.to_owned());
        Ok(())
    })?;
    Ok(all)
}

fn resolved(names: &[&str]) -> (Vec<String>, Resolution) {
    let dir = tree();
    let names: Vec<String> = names.iter().map(|w| (*w).to_owned()).collect();
    let found = resolve(dir.path(), Path::new("/"), &names).unwrap();
    (found.load_order.iter().map(|m| m.name.clone()).collect(), found)
}

#[test]
fn dependencies_come_first_and_once() {
    let (order, found) = resolved(&["virtiofs", "virtio"]);
    assert_eq!(order, ["virtio_ring", "virtio", "fuse", "virtiofs"]);
    assert!(found.builtin.is_empty() && found.missing.is_empty());
}

#[test]
fn built_in_and_missing_modules_are_listed() {
    let (order, found) = resolved(&["ext4", "hw_random", "9p", "broken", "ext4"]);
    assert!(order.is_empty());
    assert_eq!(found.builtin, ["ext4", "hw_random"]);
    assert_eq!(found.missing, ["9p", "broken"]);
}

#[test]
fn the_first_available_alternative_is_chosen() {
    let (order, found) = resolved(&["9p or virtio_ring or fuse", "gone or ext4", "9p or broken"]);
    assert_eq!(order, ["virtio_ring"]);
    assert_eq!((found.builtin, found.missing), (vec!["ext4".to_owned()], vec!["9p or broken".to_owned()]));
}

#[test]
fn soft_dependencies_are_loaded_and_may_be_cyclic() {
    let (order, _) = resolved(&["virtio-rng"]);
    assert_eq!(order, ["crc", "virtio_ring", "virtio", "virtio_rng", "fuse"]);
}

#[test]
fn deep_and_cyclic_dependencies_are_resolved_within_limits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut dep, mut soft) = (String::new(), String::new());
    let module = dir.path().join("one.ko");
    std::fs::write(&module, ELF).unwrap();
    for n in 0..16 * DEPTH {
        for kind in ["hard", "soft"] {
            std::fs::hard_link(&module, dir.path().join(format!("{kind}{n}.ko"))).unwrap();
        }
        dep += &format!("hard{n}.ko: hard{}.ko\nsoft{n}.ko:\n", n + 1);
        soft += &format!("softdep soft{n} post: soft{}\n", n + 1);
    }
    // Every two of these modules have soft dependencies on each other, and all depend on a missing module.
    let tangled: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    for name in &tangled {
        std::fs::write(dir.path().join(format!("{name}.ko")), ELF).unwrap();
        dep += &format!("{name}.ko: gone.ko\n");
        soft += &format!("softdep {name} pre: {}\n", tangled.join(" "));
    }
    std::fs::write(dir.path().join("modules.dep"), dep).unwrap();
    std::fs::write(dir.path().join("modules.softdep"), soft).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let tree = dir.path().to_owned();
    std::thread::spawn(move || {
        sender.send(resolve(&tree, Path::new("/"), &["hard0", "soft0", "t0"].map(str::to_owned)))
    });
    let found = receiver.recv_timeout(std::time::Duration::from_secs(120)).expect("it goes on for ever").unwrap();
    assert_eq!(found.missing, ["hard0", "t0"]);
    assert_eq!(found.load_order.len(), DEPTH);
}

#[test]
fn modules_are_decompressed_up_to_a_total_limit() {
    let dir = tree();
    let names = ["virtiofs", "virtio_rng", "crc"].map(str::to_owned);
    let found = resolve(dir.path(), Path::new("/"), &names).unwrap();
    let all = loaded(&found, MAX_MODULES).unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|m| m == ELF));
    let error = loaded(&found, 5 * ELF.len() as u64).unwrap_err().cause;
    assert!(error.to_string().contains("those before it have more than"), "{error}");
}

#[test]
fn modules_outside_of_the_tree_are_not_found() {
    use std::os::unix::fs::symlink;
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().canonicalize().unwrap().join("victim.ko");
    std::fs::write(&victim, ELF).unwrap();
    let folder = dir.path().join("usr/lib/modules/1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir(dir.path().join("usr/share")).unwrap();
    std::fs::write(dir.path().join("usr/share/far.ko"), ELF).unwrap();
    symlink(&victim, folder.join("link.ko")).unwrap();
    symlink("/usr/share/far.ko", folder.join("inside.ko")).unwrap();
    let climbing = format!("../../../../../../../..{}", victim.display());
    let dep = format!("{}:\n{climbing}.x.ko:\nlink.ko:\ninside.ko:\n", victim.display());
    std::fs::write(folder.join("modules.dep"), dep).unwrap();
    let names = ["victim", "link", "inside"].map(str::to_owned);
    let inside = Path::new("/usr/lib/modules/1");
    let found = resolve(dir.path(), inside, &names).unwrap();
    assert_eq!(found.missing, ["victim", "link"]);
    assert_eq!(loaded(&found, MAX_MODULES).unwrap(), [ELF]);
    symlink("/dev/zero", folder.join("modules.alias")).unwrap();
    assert!(resolve(dir.path(), inside, &names).is_ok());
    std::fs::remove_file(folder.join("modules.dep")).unwrap();
    symlink(&victim, folder.join("modules.dep")).unwrap();
    assert!(resolve(dir.path(), inside, &names).is_err());
}

/// A file may be replaced between finding and reading it.
#[test]
fn replaced_module_files_are_refused_when_read() {
    let (dir, outside) = (tree(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim.ko");
    std::fs::write(&victim, ELF).unwrap();
    let found = resolve(dir.path(), Path::new("/"), &["crc".to_owned()]).unwrap();
    let place = dir.path().join("kernel/lib/crc.ko");
    let read_again = || {
        let (sender, receiver) = std::sync::mpsc::channel();
        let found = found.clone();
        std::thread::spawn(move || {
            sender.send(loaded(&found, MAX_MODULES).map_err(|e| failed(&found.tree, e).to_string()))
        });
        receiver.recv_timeout(std::time::Duration::from_secs(60)).expect("the module is waited for")
    };
    assert_eq!(read_again().unwrap().len(), found.load_order.len());
    std::fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink(&victim, &place).unwrap();
    assert!(read_again().unwrap_err().contains("crc.ko cannot be read"));
    std::fs::remove_file(&place).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &place, rustix::fs::Mode::RUSR).unwrap();
    assert!(read_again().unwrap_err().contains("not a regular file"));
    std::fs::remove_file(&place).unwrap();
    std::fs::File::create(&place).unwrap().set_len(MAX_MODULE + 1).unwrap();
    assert!(read_again().unwrap_err().contains("more than 268435456 bytes"));
}

#[test]
fn a_file_that_is_not_an_elf_module_is_refused() {
    let dir = tree();
    let found = resolve(dir.path(), Path::new("/"), &["text".to_owned()]).unwrap();
    let error = loaded(&found, MAX_MODULES).unwrap_err();
    assert!(matches!(error.cause, ImageErrorKind::BadModule { .. }));
}
