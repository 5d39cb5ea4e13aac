use super::*;
use crate::initrd::tests::{Made, archive, gzip, merged_usr};
use crate::modules;
use std::process::Command;

const FOLDER_MODE: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An ELF file of 64 bits with the agent's name, and a loader if it has one.
pub(in crate::artifacts) fn elf(loader: Option<&str>) -> Vec<u8> {
    let loader = loader.map(|loader| [loader.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let (head, header) = (64_usize, 56_usize);
    let mut bytes = vec![0; head + header];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // A program for x86_64 with one program header after this head: PT_INTERP, or PT_NULL.
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

/// The agent of an initrd with these entries and the folders that they lie in.
fn agent_of(entries: &[Made<'_>]) -> Result<Agent, ArtifactsError> {
    let folders: BTreeSet<&str> =
        entries.iter().flat_map(|entry| entry.0.match_indices('/').map(|(at, _)| &entry.0[..at])).collect();
    let mut all: Vec<Made<'_>> =
        folders.into_iter().zip(1000..).map(|(folder, ino)| (folder, FOLDER_MODE, (ino, 2), b"".as_slice())).collect();
    all.extend(entries);
    in_initrd(&Initrd::read(gzip(&archive(&all))).unwrap(), Path::new("initrd.img"))
}

fn paths(agent: &Agent) -> Vec<&str> {
    agent.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn a_static_agent_needs_nothing_and_a_dynamic_one_its_loader() {
    assert_eq!(needs(&elf(None)).unwrap(), None);
    assert_eq!(needs(&elf(Some("/lib64/ld.so"))).unwrap().unwrap().loader.as_deref(), Some("/lib64/ld.so"));
    assert_eq!(needs(b"no program").unwrap(), None);
    assert!(needs(b"\x7fELF, cut short").is_err(), "what cannot be read does not pass for static");
    let found = agent_of(&[("usr/bin/kata-agent", FILE, (1, 1), &elf(None))]).unwrap();
    assert_eq!((found.path.as_str(), paths(&found)), ("/usr/bin/kata-agent", vec!["/usr/bin/kata-agent"]));
    assert!(found.alone().is_some());
}

#[test]
fn a_loader_is_found_where_usr_is_merged() {
    let agent = elf(Some("/lib64/ld.so"));
    let entries: [Made<'_>; 5] = [
        ("usr/sbin/init", FILE, (1, 1), &agent),
        ("sbin", LINK, (2, 1), b"usr/sbin"),
        ("lib64", LINK, (3, 1), b"usr/lib64"),
        ("usr/lib64/ld-1.so", FILE, (4, 1), b"loader"),
        ("usr/lib64/ld.so", LINK, (5, 1), b"ld-1.so"),
    ];
    let found = agent_of(&entries).unwrap();
    assert_eq!(paths(&found), ["/sbin/init", "/lib64/ld.so"]);
    assert_eq!(found.files[1].content, b"loader");
    assert!(found.alone().is_none());
    let error = agent_of(&entries[..3]).unwrap_err().to_string();
    assert!(error.starts_with("no loader of kata-agent's in initrd.img: expected /lib64/ld.so"), "{error}");
}

#[test]
fn systemd_is_no_agent() {
    let error = agent_of(&[("sbin/init", FILE, (1, 1), b"\x7fELF systemd")]).unwrap_err().to_string();
    assert!(error.starts_with("no kata-agent in initrd.img"), "{error}");
    let with =
        [("sbin/init", FILE, (1, 1), b"\x7fELF systemd".as_slice()), ("usr/bin/kata-agent", FILE, (2, 1), &elf(None))];
    assert_eq!(agent_of(&with).unwrap().path, "/usr/bin/kata-agent");
}

/// A program of this machine's with its libraries, in an initrd like Kata's.
#[test]
fn a_dynamic_agent_runs_with_what_is_taken_along() {
    let mut program = fs::read("/bin/ls").unwrap();
    program.extend_from_slice(b"kata-agent");
    let mut contents = vec![("etc/passwd".to_owned(), b"not needed".to_vec())];
    let mut wanted = vec![("usr/sbin/init".to_owned(), program)];
    while let Some((path, bytes)) = wanted.pop() {
        let needs = needs(&bytes).unwrap().unwrap_or_default();
        let names = needs.libraries.iter().map(|name| format!("lib/x86_64-linux-gnu/{name}"));
        for place in names.chain(needs.loader.map(|loader| loader[1..].to_owned())) {
            if !contents.iter().chain(&wanted).any(|(known, _)| *known == place) {
                let bytes = fs::read(Path::new("/").join(&place)).unwrap();
                wanted.push((place, bytes));
            }
        }
        contents.push((path, bytes));
    }
    let mut entries: Vec<Made<'_>> = contents
        .iter()
        .zip(1..)
        .map(|((path, bytes), ino)| (path.as_str(), FILE, (ino, 1), bytes.as_slice()))
        .collect();
    entries.push(("sbin", LINK, (100, 1), b"usr/sbin"));
    let agent = agent_of(&entries).unwrap();
    let names: Vec<&str> = contents.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(agent.files.len(), names.len() - 1, "{:?} of {names:?}", paths(&agent));
    assert!(paths(&agent).contains(&"/lib/x86_64-linux-gnu/libc.so.6"));
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED running it: chroot needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let put = |file: &ExtraFile| {
        let path = dir.path().join(&file.path[1..]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &file.content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(file.mode);
        fs::set_permissions(&path, mode).unwrap();
    };
    agent.files.iter().for_each(put);
    let run = || Command::new("chroot").arg(dir.path()).args([&agent.path, "/sbin"]).output().unwrap();
    let output = run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("init"));
    fs::remove_file(dir.path().join("lib/x86_64-linux-gnu/libc.so.6")).unwrap();
    assert!(!run().status.success(), "it runs without what was taken along");
}

/// What is laid over shares nothing with what is below but `/init`.
#[test]
fn only_init_is_replaced() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), &["virtiofs".to_owned()]).unwrap();
    let below = merged_usr();
    let theirs: Vec<String> = Initrd::read(below.clone()).unwrap().paths().map(str::to_owned).collect();
    let layer = initramfs::layer(b"#!ours", &found, FOLDER, &[("next", b"/sbin/init")]).unwrap();
    let layer = Initrd::read(layer).unwrap();
    let ours: Vec<&str> = layer.paths().collect();
    let shared: Vec<&&str> = ours.iter().filter(|path| theirs.iter().any(|theirs| theirs == *path)).collect();
    assert_eq!(shared, [&"init"]);
    assert!(ours.iter().all(|path| *path == "init" || path.split('/').next() == Some(FOLDER)), "{ours:?}");
    assert!(ours.contains(&"kata-qualify/modules/03-virtiofs.ko"), "{ours:?}");
}

#[test]
fn an_initrd_of_any_form_is_laid_over() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), &["virtiofs".to_owned()]).unwrap();
    // `/init` as a second name of the agent, which must stay as it is.
    let linked = archive(&[
        ("sbin", FOLDER_MODE, (1, 2), b""),
        ("sbin/init", FILE, (2, 2), b""),
        ("init", FILE, (2, 2), b"theirs"),
    ]);
    let two = [archive(&[("early", FILE, (1, 1), b"x")]), gzip(&linked)].concat();
    for below in [linked.clone(), gzip(&linked), zstd::encode_all(&linked[..], 1).unwrap(), two] {
        let all = Initrd::read(lay_over(&below, b"ours", &found, "/sbin/init").unwrap()).unwrap();
        assert_eq!(all.file("init").unwrap().0, b"ours");
        assert_eq!(all.file("sbin/init").unwrap().0, b"theirs");
        assert_eq!(all.file("kata-qualify/next").unwrap().0, b"/sbin/init");
    }
}

/// The kernel writes through a file's second name: a link stands before `/init` itself, for it takes the name away.
#[test]
fn init_is_unlinked_before_it_is_written() {
    let dir = modules::tests::tree();
    let found = modules::resolve(dir.path(), &["virtiofs".to_owned()]).unwrap();
    let layer = initramfs::layer(b"#!ours", &found, FOLDER, &[]).unwrap();
    let first = cpio::NewcReader::new(&layer[..]).unwrap();
    assert_eq!((first.entry().name(), first.entry().mode() & 0o170_000), ("init", LINK & 0o170_000));
    let second = cpio::NewcReader::new(first.finish().unwrap()).unwrap();
    assert_eq!((second.entry().name(), second.entry().mode()), ("init", FILE));
}
