use super::*;
use crate::artifacts::MAX_INITRD;
use crate::boot::initrd::tests::{Made, archive, gzip, merged_usr, read};
use crate::boot::modules;
use std::collections::BTreeSet;
use std::fs;
use std::io::Seek as _;

const FOLDER_MODE: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Builds a 64-bit ELF file with the agent's name, and a loader if one is given.
pub(in crate::artifacts) fn elf(loader: Option<&str>) -> Vec<u8> {
    let loader = loader.map(|loader| [loader.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let (head, header) = (64_usize, 56_usize);
    let mut bytes = vec![0; head + header];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // A program for x86_64 with one program header after the ELF header: PT_INTERP, or PT_NULL.
    for (at, value) in [(16, 3), (18, 62), (20, 1), (32, head), (52, head), (54, header), (56, 1), (58, 64)] {
        bytes[at..at + 2].copy_from_slice(&u16::try_from(value).unwrap().to_le_bytes());
    }
    let at = bytes.len() as u64;
    bytes[head..head + 4].copy_from_slice(&(if loader.is_empty() { 0_u32 } else { 3 }).to_le_bytes());
    bytes[head + 8..head + 16].copy_from_slice(&at.to_le_bytes());
    bytes[head + 32..head + 40].copy_from_slice(&(loader.len() as u64).to_le_bytes());
    bytes.extend(loader);
    bytes.extend_from_slice(b"kata-agent");
    bytes
}

fn bytes_of(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Finds the agent of an initrd with these entries and their parent directories.
fn agent_of(entries: &[Made<'_>]) -> Result<Agent, ArtifactsError> {
    let folders: BTreeSet<&str> =
        entries.iter().flat_map(|entry| entry.0.match_indices('/').map(|(at, _)| &entry.0[..at])).collect();
    let mut all: Vec<Made<'_>> =
        folders.into_iter().zip(1000..).map(|(folder, ino)| (folder, FOLDER_MODE, (ino, 2), b"".as_slice())).collect();
    all.extend(entries);
    in_initrd(&opened("initrd.img", &gzip(&archive(&all))))
}

fn opened(path: &str, content: &[u8]) -> OpenedFile {
    OpenedFile::from_bytes(Path::new(path), content).unwrap()
}

fn path(agent: &Agent) -> &Path {
    match agent {
        Agent::Alone(_) => Path::new(ALONE_AT),
        Agent::InInitrd { path, .. } => path,
    }
}

#[test]
fn a_program_with_an_elf_interpreter_is_not_static() {
    assert!(is_static(&elf(None)).unwrap() && is_static(b"no program").unwrap());
    assert!(!is_static(&elf(Some("/lib64/ld.so"))).unwrap());
    assert!(!is_static(&fs::read("/bin/ls").unwrap()).unwrap());
    assert!(is_static(b"\x7fELF, cut short").is_err(), "what cannot be read does not pass for static");
    let found = agent_of(&[("usr/bin/kata-agent", FILE, (1, 1), &elf(None))]).unwrap();
    assert_eq!(path(&found), Path::new("/usr/bin/kata-agent"));
    assert_eq!(found.alone().unwrap().content().unwrap(), elf(None));
}

#[test]
fn an_oversized_agent_or_initrd_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (agent, initrd) = (dir.path().join("kata-agent"), dir.path().join("initrd.img"));
    File::create(&initrd).unwrap().set_len(MAX_INITRD + 1).unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let error = folder.file(Path::new("/initrd.img"), MAX_INITRD).unwrap_err().to_string();
    assert!(error.contains("initrd.img: it is too large, more than 1073741824 bytes"), "{error}");
    File::create(&agent).unwrap().set_len(MAX_PROGRAM + 1).unwrap();
    let error = find(&folder, Path::new("/"), None).unwrap_err().to_string();
    assert!(error.contains("kata-agent: it is too large, more than 536870912 bytes"), "{error}");
}

/// A dynamic agent finds in the guest all files that it has in Kata's initrd, at any path.
#[test]
fn a_dynamic_agent_keeps_every_file_of_katas_initrd() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
    let agent = elf(Some("/lib64/ld.so"));
    let entries: [Made<'_>; 6] = [
        ("usr/sbin/init", FILE, (1, 1), &agent),
        ("sbin", LINK, (2, 1), b"usr/sbin"),
        ("lib64", LINK, (3, 1), b"usr/lib64"),
        ("usr/lib64/ld.so", FILE, (4, 1), b"loader"),
        ("opt/odd/libodd.so", FILE, (5, 1), b"found by a path of the loader's own"),
        ("init", LINK, (6, 1), b"/sbin/init"),
    ];
    let agent = agent_of(&entries).unwrap();
    assert!(path(&agent) == Path::new("/sbin/init") && agent.alone().is_none(), "{agent:?}");
    let Agent::InInitrd { initrd, .. } = &agent else { panic!("{}", path(&agent).display()) };
    let below = read(initrd.content().unwrap()).unwrap();
    let all = read(bytes_of(guest_initrd(b"ours", &found, &agent).unwrap())).unwrap();
    for path in below.paths().filter(|path| *path != "init") {
        assert_eq!(all.file(path), below.file(path), "{path}");
        assert_eq!(all.resolve(path), below.resolve(path), "{path}");
    }
    assert_eq!(all.file("init").unwrap().0, b"ours");
    assert_eq!(all.file("kata-qualify/next").unwrap().0, b"/sbin/init");
    assert_eq!(all.file("sbin/init").unwrap().0, elf(Some("/lib64/ld.so")));
}

#[test]
fn a_standalone_agent_gets_a_minimal_initrd() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
    let all = read(bytes_of(guest_initrd(b"ours", &found, &Agent::Alone(opened("agent", b"agent"))).unwrap())).unwrap();
    assert_eq!(all.file("sbin/init").unwrap(), (b"agent".as_slice(), 0o755));
    assert_eq!(all.file("kata-qualify/next").unwrap().0, b"/sbin/init");
    assert_eq!(all.file("etc/hostname").unwrap().0, b"kata\n");
}

#[test]
fn systemd_is_not_taken_for_the_agent() {
    let error = agent_of(&[("sbin/init", FILE, (1, 1), b"\x7fELF systemd")]).unwrap_err().to_string();
    assert!(error.starts_with("no kata-agent in initrd.img"), "{error}");
    let with =
        [("sbin/init", FILE, (1, 1), b"\x7fELF systemd".as_slice()), ("usr/bin/kata-agent", FILE, (2, 1), &elf(None))];
    assert_eq!(path(&agent_of(&with).unwrap()), Path::new("/usr/bin/kata-agent"));
}

/// The harness's layer and the initrd below it have no path in common but `/init`.
#[test]
fn only_init_is_replaced() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
    let below = merged_usr();
    let old_paths: Vec<String> = read(below.clone()).unwrap().paths().map(str::to_owned).collect();
    let mut layer = Vec::new();
    initramfs::layer(b"#!ours", &found, FOLDER, &[("next", b"/sbin/init")], &mut layer).unwrap();
    let layer = read(layer).unwrap();
    let added: Vec<&str> = layer.paths().collect();
    let shared: Vec<&&str> = added.iter().filter(|path| old_paths.iter().any(|old| old == *path)).collect();
    assert_eq!(shared, [&"init"]);
    assert!(added.iter().all(|path| *path == "init" || path.split('/').next() == Some(FOLDER)), "{added:?}");
    assert!(added.contains(&"kata-qualify/modules/03-virtiofs.ko"), "{added:?}");
}

#[test]
fn init_is_replaced_in_plain_compressed_and_concatenated_initrds() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
    // Here `/init` is a hard link to the agent, which must stay unchanged.
    let linked = archive(&[
        ("sbin", FOLDER_MODE, (1, 2), b""),
        ("sbin/init", FILE, (2, 2), b""),
        ("init", FILE, (2, 2), b"theirs"),
    ]);
    let two = [archive(&[("early", FILE, (1, 1), b"x")]), gzip(&linked)].concat();
    for below in [linked.clone(), gzip(&linked), zstd::encode_all(&linked[..], 1).unwrap(), two] {
        let mut all = Vec::new();
        lay_over(&mut below.as_slice(), b"ours", &found, Path::new("/sbin/init"), &mut all).unwrap();
        let all = read(all).unwrap();
        assert_eq!(all.file("init").unwrap().0, b"ours");
        assert_eq!(all.file("sbin/init").unwrap().0, b"theirs");
        assert_eq!(all.file("kata-qualify/next").unwrap().0, b"/sbin/init");
    }
}

/// The kernel would write through a hard link: a symbolic link entry comes before `/init` itself, because it unlinks
/// the old name.
#[test]
fn init_is_unlinked_before_it_is_written() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
    let mut layer = Vec::new();
    initramfs::layer(b"#!ours", &found, FOLDER, &[], &mut layer).unwrap();
    let first = cpio::NewcReader::new(&layer[..]).unwrap();
    assert_eq!((first.entry().name(), first.entry().mode() & 0o170_000), ("init", LINK & 0o170_000));
    let second = cpio::NewcReader::new(first.finish().unwrap()).unwrap();
    assert_eq!((second.entry().name(), second.entry().mode()), ("init", FILE));
}
