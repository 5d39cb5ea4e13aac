//! Kata's other guests, and its own check of the host.

use super::capture::Attached;
use super::kata;
use kata_osinfo::profile::{self, Profile};
use kata_osinfo::root::Root;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use suites::check::{Check, Stop};
use suites::containers::{Finished, Kata, OwnGuest};
use suites::environment::Claims;
use suites::outcome::Component;

/// How long the distro's tool may take; under emulation it compresses for minutes.
const TOOL: Duration = Duration::from_secs(480);

/// initramfs-tools' settings: only the modules asked for, and a `mountroot` of ours instead of a root filesystem.
const INITRAMFS_CONF: &str =
    "MODULES=list\nBUSYBOX=auto\nKEYMAP=n\nCOMPRESS=gzip\nBOOT=kata\nRUNSIZE=10%\nFSTYPE=auto\n";
/// Copies Kata's agent into the initrd; asked for what it needs to be run after, it has nothing to say.
const HOOK: &str = "\
#!/bin/sh -e
[ \"$1\" = prereqs ] && exit 0
mkdir -p \"$DESTDIR/sbin\"
cp \"$KATA_AGENT\" \"$DESTDIR/sbin/kata-agent\"
";
/// Sourced by the initrd's `/init` because of `BOOT=kata`, in process 1: the modules are inserted by then.
///
/// Kata's agent mounts these itself and takes one that is there for a mistake (`general_mount` in
/// `src/agent/src/mount.rs@3.30.0`), but for `/dev`.
const MOUNTROOT: &str = "\
mount_top() { :; }
mount_premount() { :; }
mount_bottom() { :; }
mountroot()
{
	if command -v udevadm > /dev/null; then
		udevadm settle --timeout=10
		udevadm control --exit
	fi
	for folder in /run /dev/pts /sys /proc; do
		umount \"$folder\"
	done
	exec /sbin/kata-agent
}
";

/// Kata's own kernel and initrd.
///
/// # Errors
/// A skip where not both came along.
pub fn katas(kata: &Kata) -> Result<OwnGuest, Stop> {
    let missing = || Stop::skip("the Kata given has not both a guest kernel and an initrd of its own");
    kata.own.clone().ok_or_else(missing)
}

/// The release's kernel, and an initrd with Kata's agent that the release's own tool makes below `folder`.
///
/// # Errors
/// A skip where the tool is none that is known here; a failure that blames the kernel's tools where it fails.
pub fn distros(folder: &Path, claims: &Claims, profile: &Profile, kata: &Kata) -> Result<OwnGuest, Stop> {
    let kernel = claims.brought.get("kernel").unwrap_or(&claims.vmlinuz).clone();
    let settings = folder.join("initramfs-tools");
    let initrd = folder.join("distros-initrd");
    let ours = |e: io::Error| Stop::error(format!("writing initramfs-tools' settings: {e}"));
    write_settings(&settings, profile).map_err(ours)?;
    let mut command = Command::new("mkinitramfs");
    command
        .arg("-d")
        .arg(&settings)
        .arg("-o")
        .arg(&initrd)
        .arg(&claims.kernel)
        .env("LC_ALL", "C")
        .env("KATA_AGENT", &kata.agent);
    let finished = finish(&mut command, TOOL)
        .map_err(|e| Stop::skip(format!("the release has no initramfs-tools, the only one known here: {e}")))?;
    let finished = finished.ok_or_else(|| Stop::error(format!("mkinitramfs took longer than {} s", TOOL.as_secs())))?;
    if finished.code != 0 {
        return Err(Stop::blame(Component::Kernel, format!("mkinitramfs: {}", finished.summary())));
    }
    Ok(OwnGuest { kernel, initrd: initrd.to_string_lossy().into_owned() })
}

fn write_settings(folder: &Path, profile: &Profile) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for part in ["conf.d", "hooks", "scripts"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::write(folder.join("initramfs.conf"), INITRAMFS_CONF)?;
    // Read beside the other one, by name.
    fs::write(folder.join("update-initramfs.conf"), "")?;
    let modules = profile.modules.all();
    let lines: String = modules.into_iter().map(|module| format!("{module}\n")).collect();
    fs::write(folder.join("modules"), lines)?;
    let hook = folder.join("hooks/kata");
    fs::write(&hook, HOOK)?;
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
    fs::write(folder.join("scripts/kata"), MOUNTROOT)
}

/// An initrd's path and size, for the report.
pub fn described(initrd: &str) -> String {
    match fs::metadata(initrd) {
        Ok(meta) => format!("{initrd} ({:.1} MiB)", meta.len() as f64 / f64::from(1 << 20)),
        Err(e) => format!("{initrd} ({e})"),
    }
}

/// Configures Kata for these files, or for the harness's own again.
///
/// # Errors
/// As [`kata::configure`]; a skip where the configuration is to stay as it is.
pub fn configure(claims: &Claims, profile: &Profile, kata: &Kata, files: Option<&OwnGuest>) -> Check {
    if kata.shipped.is_none() {
        return Err(Stop::skip("Kata's configuration here is not the harness's, so that its guests cannot be chosen"));
    }
    let root = Root::new(Path::new("/")).map_err(|e| Stop::error(e.to_string()))?;
    let (mut claims, mut kata) = (claims.clone(), kata.clone());
    if let Some(files) = files {
        claims.brought.insert("kernel".to_owned(), files.kernel.clone());
        kata.initrd.clone_from(&files.initrd);
    }
    kata::configure(&root, &claims, profile, &kata).map(drop)
}

/// Runs `kata-runtime check` or `kata-ctl check`.
///
/// # Errors
/// A skip where it did not come along; an error where it does not end.
pub fn check(kata: &Kata, deadline: Duration) -> Result<Finished, Stop> {
    let program =
        kata.checker.as_ref().ok_or_else(|| Stop::skip("the Kata given has no program that checks a host"))?;
    let mut command = Command::new(program);
    match kata.kind {
        profile::Runtime::Go => command.args(["--config", &kata.configuration, "check", "--no-network-checks"]),
        profile::Runtime::Rs => command.args(["check", "no-network-checks"]),
    };
    let finished = finish(&mut command, deadline).map_err(|e| Stop::error(format!("starting {program}: {e}")))?;
    finished.ok_or_else(|| Stop::error(format!("Kata's own check took longer than {} s", deadline.as_secs())))
}

/// Runs a program to its end; `None` if it outlives the deadline, which ends it.
fn finish(command: &mut Command, deadline: Duration) -> io::Result<Option<Finished>> {
    Ok(Attached::start(command, &[])?.wait(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_settings_bring_the_agent_and_the_profiles_modules() {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("initramfs-tools");
        let profile = Profile::find("rs-4.0").unwrap();
        // What an earlier attempt left goes.
        fs::create_dir_all(settings.join("hooks")).unwrap();
        fs::write(settings.join("hooks/old"), "").unwrap();
        write_settings(&settings, profile).unwrap();
        assert!(!settings.join("hooks/old").exists());
        let modules = fs::read_to_string(settings.join("modules")).unwrap();
        assert_eq!(modules.lines().collect::<Vec<_>>(), profile.modules.all());

        let agent = dir.path().join("an agent; with a bad name");
        fs::write(&agent, "agent").unwrap();
        let hook = settings.join("hooks/kata");
        let run = |argument: Option<&str>| {
            let mut command = Command::new(&hook);
            command.args(argument).env("DESTDIR", dir.path()).env("KATA_AGENT", &agent);
            assert!(command.status().unwrap().success());
        };
        run(Some("prereqs"));
        assert!(!dir.path().join("sbin").exists(), "asked what it needs, it copied");
        run(None);
        assert_eq!(fs::read_to_string(dir.path().join("sbin/kata-agent")).unwrap(), "agent");
        let checked = Command::new("sh").arg("-n").arg(settings.join("scripts/kata")).status().unwrap();
        assert!(checked.success());
    }

    #[test]
    fn a_check_that_did_not_come_along_is_skipped_and_one_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut kata = kata::tests::kata(profile::Runtime::Go);
        assert!(matches!(check(&kata, Duration::from_secs(5)), Err(Stop::Skip { .. })));
        let program = dir.path().join("kata-runtime");
        fs::write(&program, "#!/bin/sh\necho \"$*\"; echo no KVM >&2; exit 1\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        kata.checker = Some(program.to_string_lossy().into_owned());
        let finished = check(&kata, Duration::from_secs(5)).unwrap();
        assert_eq!(finished.code, 1);
        assert_eq!(finished.text(), "--config /etc/kata-containers/configuration.toml check --no-network-checks");
        fs::write(&program, "#!/bin/sh\nsleep 100\n").unwrap();
        assert!(matches!(check(&kata, Duration::from_millis(200)), Err(Stop::Error { .. })));
    }
}
