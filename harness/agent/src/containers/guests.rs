//! Guests with Kata's or the distro's own files, and Kata's own check of the host.

use super::capture::Attached;
use super::kata;
use model::kernel::KernelRelease;
use model::profile::{self, Profile};
use model::words::{SizeUnit, size};
use operator::process::Invocation;
use root::{NotAnInsidePath, Root};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use suites::check::{Check, Stop};
use suites::containers::{ContainerOutput, GuestRoot, Kata, OwnGuest};
use suites::environment::Claims;
use suites::outcome::Component;

/// Time limit of the distro's tool; under emulation it compresses for minutes.
const TOOL: Duration = Duration::from_secs(480);

/// Tools for making a distro's initramfs, in order of preference: a release usually has one, and a system with only the
/// core of dracut in addition to initramfs-tools boots with the latter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum InitramfsTool {
    Mkinitramfs,
    Dracut,
}

impl InitramfsTool {
    const ALL: [Self; 2] = [Self::Mkinitramfs, Self::Dracut];

    fn name(self) -> &'static str {
        match self {
            Self::Mkinitramfs => "mkinitramfs",
            Self::Dracut => "dracut",
        }
    }

    /// Returns the command that makes the initrd, once its settings are below `settings`.
    fn command(
        self,
        settings: &Path,
        initrd: &Path,
        kernel: &KernelRelease,
        modules: &[String],
        agent: &str,
    ) -> Command {
        let mut command = Command::new(self.name());
        command.env("LC_ALL", "C");
        match self {
            Self::Mkinitramfs => {
                command.arg("-d").arg(settings).arg("-o").arg(initrd).arg(kernel.as_str()).env("KATA_AGENT", agent);
            }
            Self::Dracut => {
                // Only dracut's shell init and udev, without additions from the machine's own settings.
                command.args(["--quiet", "--force", "--no-hostonly", "--no-early-microcode", "--nostrip", "--gzip"]);
                command.args(["--modules", "base", "--conf", "/dev/null", "--confdir"]).arg(settings.join("conf"));
                command.arg("--tmpdir").arg(settings).arg("--add-drivers").arg(modules.join(" "));
                command.args(["--include", agent, "/sbin/kata-agent"]);
                let hooks = dracuts_hooks(Path::new("/usr/lib/dracut/modules.d"));
                for (hook, _) in DRACUT_HOOKS {
                    // After dracut's own hooks, which look for a root filesystem on the kernel's command line.
                    let place = format!("{hooks}/{hook}/99-kata.sh");
                    command.arg("--include").arg(settings.join(hook)).arg(place);
                }
                command.arg("--include").arg(settings.join("modules")).arg("/etc/kata-modules");
                command.arg(initrd).arg(kernel.as_str());
            }
        }
        command
    }

    fn write_settings(self, folder: &Path, modules: &[String]) -> io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let lines: String = modules.iter().map(|module| format!("{module}\n")).collect();
        fs::write(folder.join("modules"), lines)?;
        match self {
            Self::Mkinitramfs => {
                for part in ["conf.d", "hooks", "scripts"] {
                    fs::create_dir(folder.join(part))?;
                }
                fs::write(folder.join("initramfs.conf"), INITRAMFS_CONF)?;
                // initramfs-tools reads this file in addition, by name.
                fs::write(folder.join("update-initramfs.conf"), "")?;
                let hook = folder.join("hooks/kata");
                fs::write(&hook, HOOK)?;
                fs::set_permissions(&hook, fs::Permissions::from_mode(0o755))?;
                fs::write(folder.join("scripts/kata"), MOUNTROOT)
            }
            Self::Dracut => {
                fs::create_dir(folder.join("conf"))?;
                for (hook, text) in DRACUT_HOOKS {
                    let path = folder.join(hook);
                    fs::write(&path, text)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
                Ok(())
            }
        }
    }
}

/// Settings of initramfs-tools: only the requested modules, and the harness's own `mountroot` instead of a root
/// filesystem.
const INITRAMFS_CONF: &str =
    "MODULES=list\nBUSYBOX=auto\nKEYMAP=n\nCOMPRESS=gzip\nBOOT=kata\nRUNSIZE=10%\nFSTYPE=auto\n";
/// Hook that copies Kata's agent into the initrd; it has no prerequisites.
const HOOK: &str = "\
#!/bin/sh -e
[ \"$1\" = prereqs ] && exit 0
mkdir -p \"$DESTDIR/sbin\"
cp \"$KATA_AGENT\" \"$DESTDIR/sbin/kata-agent\"
";
/// Sourced by the initrd's `/init` because of `BOOT=kata`, in process 1: the modules are already loaded.
///
/// Kata's agent mounts these filesystems itself and treats an existing mount as an error (`general_mount` in
/// `src/agent/src/mount.rs@3.30.0`), except for `/dev`.
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

/// dracut's hooks, sourced by its shell init in process 1: there is no root filesystem to wait for, and at the point
/// where one would be mounted, the modules are loaded and Kata's agent takes over.
const DRACUT_HOOKS: [(&str, &str); 2] = [
    ("cmdline", "root=kata\nrootok=1\n"),
    (
        "pre-mount",
        "\
while read -r module; do modprobe \"$module\"; done < /etc/kata-modules
udevadm settle --timeout=10
udevadm control --exit
for folder in /run /dev/pts /dev/shm /sys /proc; do
	umount \"$folder\"
done
exec /sbin/kata-agent
",
    ),
];

/// Returns Kata's own kernel and initrd.
///
/// # Errors
/// A skip unless both were given.
pub fn katas(kata: &Kata) -> Result<OwnGuest, Stop> {
    let missing = || Stop::skip("the Kata given has not both a guest kernel and an initrd of its own");
    kata.own.clone().ok_or_else(missing)
}

/// Returns Kata's own kernel and image.
///
/// # Errors
/// A skip unless both were given.
pub fn katas_with_image(kata: &Kata) -> Result<OwnGuest, Stop> {
    let missing = || Stop::skip("the Kata given has not both a guest kernel and an image of its own");
    kata.own_image.clone().ok_or_else(missing)
}

/// Returns the release's kernel, and an initrd with Kata's agent that the release's own tool makes below `folder`.
///
/// # Errors
/// A skip if the release's tool is unknown; a failure that blames the kernel's tools if it fails.
pub fn distros(folder: &Path, claims: &Claims, profile: &Profile, kata: &Kata) -> Result<OwnGuest, Stop> {
    let agent = kata.agent.as_ref().ok_or_else(|| {
        Stop::skip(
            "this Kata's agent is dynamically linked, and the release's tool has not the libraries of Kata's initrd",
        )
    })?;
    let kernel = claims.katas_kernel().to_owned();
    let settings = folder.join("initramfs-settings");
    let modules: Vec<_> = profile.modules.all().into_iter().filter(|name| has_module(&claims.kernel, name)).collect();
    for tool in InitramfsTool::ALL {
        let name = tool.name();
        let initrd = folder.join(format!("{name}-initrd"));
        let write_error = |e: io::Error| Stop::error(format!("writing {name}'s settings: {e}"));
        tool.write_settings(&settings, &modules).map_err(write_error)?;
        let mut command = tool.command(&settings, &initrd, &claims.kernel, &modules, agent);
        let finished = match finish(&mut command, TOOL) {
            Ok(finished) => finished,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Stop::error(format!("starting {name}: {e}"))),
        };
        let finished = finished.ok_or_else(|| Stop::error(format!("{name} took longer than {} s", TOOL.as_secs())))?;
        if finished.code != 0 {
            return Err(Stop::blame(Component::Kernel, format!("{name}: {}", finished.summary())));
        }
        return Ok(OwnGuest { kernel, root: GuestRoot::Initrd(initrd.to_string_lossy().into_owned()) });
    }
    Err(Stop::skip("the release has neither initramfs-tools nor dracut, and no other tool is known here"))
}

/// Returns the directory of hooks in dracut's initrds, read from the library of its init: `/lib/dracut/hooks` up to
/// 106, below `/var` in 112.
fn dracuts_hooks(modules: &Path) -> String {
    let libraries = fs::read_dir(modules).into_iter().flatten().flatten();
    let libraries = libraries.filter(|entry| entry.file_name().to_string_lossy().ends_with("base"));
    let mut texts = libraries.filter_map(|entry| fs::read_to_string(entry.path().join("dracut-lib.sh")).ok());
    let found = texts.find_map(|text| Some(text.lines().find_map(|line| line.strip_prefix("hookdir="))?.to_owned()));
    found.unwrap_or_else(|| "/lib/dracut/hooks".to_owned())
}

/// Returns whether this kernel has the module, built in or not: dracut drops all modules after a missing one.
/// If `modinfo` cannot be run, no module is left out.
fn has_module(kernel: &KernelRelease, name: &str) -> bool {
    let arguments = ["--set-version", kernel.as_str(), "--field", "filename", name];
    let modinfo = Invocation::new(Path::new("modinfo"), &arguments).run(Duration::from_secs(30), None);
    !modinfo.is_ok_and(|finished| !finished.is_ok())
}

/// Returns a file's path and size, for the report.
pub fn described(path: &str) -> String {
    match fs::metadata(path) {
        Ok(meta) => format!("{path} ({})", size(meta.len(), SizeUnit::Mib)),
        Err(e) => format!("{path} ({e})"),
    }
}

/// Configures Kata for these files, or for the harness's own files again.
///
/// # Errors
/// As [`kata::configure`]; a skip if the configuration must not be changed.
pub fn configure(claims: &Claims, profile: &Profile, kata: &Kata, files: Option<&OwnGuest>) -> Check {
    if kata.shipped.is_none() {
        return Err(Stop::skip("Kata's configuration here is not the harness's, so that its guests cannot be chosen"));
    }
    let root = Root::new(Path::new("/")).map_err(|e| Stop::error(e.to_string()))?;
    let Some(OwnGuest { kernel, root: guests_root }) = files else {
        return kata::configure(&root, claims, profile, kata).map(drop);
    };
    match guests_root {
        GuestRoot::Initrd(initrd) => {
            let (mut claims, mut kata) = (claims.clone(), kata.clone());
            let wrong = |e: NotAnInsidePath| Stop::error(format!("the kernel {kernel}: {e}"));
            claims.candidates.insert(Component::Kernel, kernel.parse().map_err(wrong)?);
            kata.initrd.clone_from(initrd);
            kata::configure(&root, &claims, profile, &kata).map(drop)
        }
        GuestRoot::Image(image) => kata::configure_image(&root, claims, profile, kata, kernel, image).map(drop),
    }
}

/// Runs `kata-runtime check` or `kata-ctl check`.
///
/// # Errors
/// A skip if the program was not given; an error if it does not end.
pub fn check(kata: &Kata, deadline: Duration) -> Result<ContainerOutput, Stop> {
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

/// Runs a program to its end; `None` if it outlives the deadline, after which it is killed.
fn finish(command: &mut Command, deadline: Duration) -> io::Result<Option<ContainerOutput>> {
    Ok(Attached::start(command, &[])?.wait(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mkinitramfs_settings_include_the_agent_and_the_modules() {
        let dir = tempfile::tempdir().unwrap();
        let settings = dir.path().join("initramfs-tools");
        let modules = Profile::find("rs-4.0").unwrap().modules.all();
        // Files of an earlier attempt are removed.
        fs::create_dir_all(settings.join("hooks")).unwrap();
        fs::write(settings.join("hooks/old"), "").unwrap();
        InitramfsTool::Mkinitramfs.write_settings(&settings, &modules).unwrap();
        assert!(!settings.join("hooks/old").exists());
        let written = fs::read_to_string(settings.join("modules")).unwrap();
        assert_eq!(written.lines().collect::<Vec<_>>(), modules);

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
    fn dracut_gets_the_agent_the_modules_and_existing_hooks() {
        let dir = tempfile::tempdir().unwrap();
        let modules = Profile::find("go-3.29").unwrap().modules.all();
        InitramfsTool::Dracut.write_settings(dir.path(), &modules).unwrap();
        let command = InitramfsTool::Dracut.command(
            dir.path(),
            Path::new("/initrd"),
            &"6.12.1".parse().unwrap(),
            &modules,
            "/opt/an agent; of Kata",
        );
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(arguments[arguments.len() - 2..], ["/initrd", "6.12.1"]);
        let included: Vec<_> =
            arguments.windows(3).filter(|a| a[0] == "--include").map(|a| (a[1].to_owned(), a[2])).collect();
        let path_to = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(
            included,
            [
                ("/opt/an agent; of Kata".to_owned(), "/sbin/kata-agent"),
                (path_to("cmdline"), "/lib/dracut/hooks/cmdline/99-kata.sh"),
                (path_to("pre-mount"), "/lib/dracut/hooks/pre-mount/99-kata.sh"),
                (path_to("modules"), "/etc/kata-modules"),
            ]
        );
        for (source, _) in &included[1..] {
            assert!(Path::new(source).is_file(), "{source}");
        }
        for (hook, _) in DRACUT_HOOKS {
            assert!(Command::new("sh").arg("-n").arg(path_to(hook)).status().unwrap().success());
        }
        let drivers = arguments.windows(2).find(|a| a[0] == "--add-drivers").unwrap()[1];
        let written = fs::read_to_string(path_to("modules")).unwrap();
        assert_eq!(written.lines().collect::<Vec<_>>().join(" "), drivers);
    }

    #[test]
    fn dracuts_hooks_are_where_its_init_looks() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(dracuts_hooks(&dir.path().join("none")), "/lib/dracut/hooks");
        fs::create_dir_all(dir.path().join("10systemd")).unwrap();
        let base = dir.path().join("80base");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("dracut-lib.sh"), "#!/bin/sh\n\nhookdir=/var/lib/dracut/hooks\nexport hookdir\n").unwrap();
        assert_eq!(dracuts_hooks(dir.path()), "/var/lib/dracut/hooks");
    }

    #[test]
    fn a_missing_kata_check_is_skipped_and_a_hanging_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut kata = kata::tests::kata(profile::Runtime::Go);
        let skipped = check(&kata, Duration::from_secs(5)).unwrap_err();
        assert_eq!(skipped, Stop::skip("the Kata given has no program that checks a host"));
        let program = dir.path().join("kata-runtime");
        fs::write(&program, "#!/bin/sh\necho \"$*\"; echo no KVM >&2; exit 1\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        kata.checker = Some(program.to_string_lossy().into_owned());
        let finished = check(&kata, Duration::from_secs(5)).unwrap();
        assert_eq!((finished.code, finished.stderr.as_slice()), (1, &b"no KVM\n"[..]));
        assert!(finished.summary().contains("no KVM"), "{}", finished.summary());
        assert_eq!(finished.text(), "--config /etc/kata-containers/configuration.toml check --no-network-checks");
        fs::write(&program, "#!/bin/sh\nsleep 100\n").unwrap();
        match check(&kata, Duration::from_millis(200)) {
            Err(Stop::Error { message }) => assert!(message.starts_with("Kata's own check took longer"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
