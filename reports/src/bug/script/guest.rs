//! Scripts that boot a guest: the distro's kernel, with a busybox initrd.

use super::{BugError, FailedTest, line, qemu, quoted};
use model::profile::{ModuleUse, Profile};
use model::share::Share;
use suites::reproducer::GuestCommands;

/// Mount options of a 9p share, as Kata's agent uses them.
const NINEP: &str = "trans=virtio,version=9p2000.L,cache=mmap,msize=8192";

/// Returns the script for a guest that runs commands.
pub(super) fn of_commands(failed: &FailedTest<'_>, guest: &GuestCommands) -> Result<String, BugError> {
    let up = match guest.is_about_booting {
        true => "reproduced \"the guest does not come up\"",
        false => "cannot_tell \"the guest does not come up\"",
    };
    Ok(format!(
        r#"{setup}{start}
echo "== control: QEMU starts"
echo quit | timeout 60 "$qemu" -machine q35,accel=tcg -nodefaults -display none -S -monitor stdio >/dev/null ||
    cannot_tell "QEMU does not start"

echo "== the guest"
cat >"$work/root/commands" <<'END'
{commands}
END
starts {arguments}
came_up || {up}
case $(ended) in
    0) not_reproduced "the guest did it" ;;
    "") cannot_tell "the guest came to no end" ;;
    126 | 127) cannot_tell "the guest lacks a command" ;;
    *) reproduced "in the guest it ended with $(ended)" ;;
esac
"#,
        setup = setup(failed, guest.modules.iter().copied())?,
        start = START,
        commands = guest.commands,
        // Otherwise the line would have no arguments of its own, which shellcheck warns about.
        arguments = line(["-vga", "none"].iter().chain(guest.arguments)),
    ))
}

/// The way in which a guest gets a share.
struct Served {
    /// The guest's mount arguments.
    mount: String,
    /// The modules that the guest's kernel needs for the share.
    modules: ModuleUse,
    /// Lines that run before the guest.
    before: String,
    /// QEMU's arguments.
    arguments: &'static str,
}

impl Served {
    fn of(failed: &FailedTest<'_>) -> Result<Served, BugError> {
        match failed.test.share {
            Some(Share::Virtio9p) => Ok(Served {
                mount: format!("mount -t 9p -o {NINEP} share /share"),
                modules: ModuleUse::Virtio9p,
                before: String::new(),
                arguments: "-fsdev \"local,id=share,path=$work/share,security_model=none,multidevs=remap\" \\\n    \
                            -device virtio-9p-pci,fsdev=share,mount_tag=share",
            }),
            Some(Share::VirtioFs) => Ok(Served {
                mount: "mount -t virtiofs share /share".to_owned(),
                modules: ModuleUse::VirtioFs,
                before: format!("\ndaemon={}\n{DAEMON}", quoted(&daemon(failed)?)),
                arguments: "-object \"memory-backend-file,id=memory,size=512M,mem-path=$work/memory,share=on\" \\\n    \
                            -numa node,memdev=memory -chardev \"socket,id=share,path=$work/socket\" \\\n    \
                            -device vhost-user-fs-pci,chardev=share,tag=share",
            }),
            Some(Share::VirtioBlk) | None => Err(BugError::NoServedShare),
        }
    }
}

/// Returns the script for a program that runs natively, in the guest's memory, and on the share.
pub(super) fn of_system_calls(failed: &FailedTest<'_>, program: &str) -> Result<String, BugError> {
    let Served { mount, modules, before, arguments } = Served::of(failed)?;
    Ok(format!(
        r#"{setup}
cat >"$work/program.c" <<'END'
{program}END
cc -static -o "$work/root/program" "$work/program.c" || cannot_tell "the program cannot be compiled and linked statically"

echo "== control: natively"
mkdir "$work/native" "$work/share"
"$work/root/program" "$work/native"
code=$?
[ "$code" -eq 0 ] || cannot_tell "natively it ends with $code"
{start}
echo "== the guest: first in its own memory, then on the share"
cat >"$work/root/commands" <<'END'
mkdir /tmp/own && /program /tmp/own || exit 2
{mount} || exit 2
mkdir /share/folder || exit 2
/program /share/folder
END
{before}starts {arguments}
came_up || cannot_tell "the guest does not come up"
case $(ended) in
    0) not_reproduced "the share behaves" ;;
    1) reproduced "on the share it does not hold" ;;
    *) cannot_tell "the guest could not try it" ;;
esac
"#,
        setup = setup(failed, loaded(failed.profile, modules))?,
        program = terminated(program),
        start = START,
    ))
}

/// Starts the daemon; the one in C and the one in Rust have different names for their options.
const DAEMON: &str = r#"[ -x "$daemon" ] || cannot_tell "$daemon is not there"
if "$daemon" --help 2>&1 | grep -q -e --shared-dir; then
    "$daemon" --socket-path "$work/socket" --shared-dir "$work/share" --sandbox chroot >"$work/daemon" 2>&1 &
else
    "$daemon" --socket-path="$work/socket" -o source="$work/share",sandbox=chroot -f >"$work/daemon" 2>&1 &
fi
trap 'kill "$!" 2>/dev/null; rm -rf "$work"' EXIT
tries=0
while [ ! -S "$work/socket" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 10 ] || cannot_tell "the daemon does not listen: $(cat "$work/daemon")"
    sleep 1
done
"#;

fn daemon(failed: &FailedTest<'_>) -> Result<String, BugError> {
    let driver = failed.release.filesystem(Share::VirtioFs);
    driver.and_then(|driver| Some(driver.path.as_ref()?.to_string())).ok_or(BugError::NoVirtiofsd)
}

/// Returns the modules that the profile loads at boot and for a share.
fn loaded(profile: &Profile, used_for: ModuleUse) -> impl Iterator<Item = &str> {
    profile.modules.of(ModuleUse::Boot).iter().chain(profile.modules.of(used_for)).map(String::as_str)
}

fn terminated(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// Returns the lines that find the kernel, and build an initrd that loads the modules and runs `/commands`.
fn setup<'m>(failed: &FailedTest<'_>, modules: impl Iterator<Item = &'m str>) -> Result<String, BugError> {
    let modules: Vec<&str> = modules.collect();
    let load = match modules.is_empty() {
        true => String::new(),
        false => {
            let needs: Vec<String> = modules.iter().map(|module| format!("needs {module}")).collect();
            MODULES.replace("MODULES", &needs.join("\n"))
        }
    };
    Ok(format!("{}{KERNEL}{load}{INIT}", qemu(failed)?))
}

const KERNEL: &str = r#"
kernel=
release=
for folder in /lib/modules/*; do
    for file in "/boot/vmlinuz-${folder##*/}" "$folder/vmlinuz"; do
        [ -r "$file" ] && kernel=$file && release=${folder##*/}
    done
done
[ -n "$kernel" ] || cannot_tell "there is no kernel"
echo "kernel $release"
busybox=$(command -v busybox) || cannot_tell "there is no busybox"
mkdir -p "$work/root/bin" "$work/root/modules"
cp "$busybox" "$work/root/bin/busybox"
chroot "$work/root" /bin/busybox true ||
    cannot_tell "$busybox does not run alone: it must be linked statically, and root must run this"
"#;

/// Copies the modules in load order, dependencies first, each once.
const MODULES: &str = r#"
needs() {
    modprobe --set-version "$release" --show-depends "$1" >>"$work/modules" || cannot_tell "kernel $release has no $1"
}
MODULES
number=100
awk '!seen[$0]++' "$work/modules" >"$work/order"
while read -r verb path _; do
    [ "$verb" = insmod ] || continue
    number=$((number + 1))
    case $path in
        *.xz) xz -dc "$path" ;;
        *.zst) zstd -dcq "$path" ;;
        *.gz) gzip -dc "$path" ;;
        *) cat "$path" ;;
    esac >"$work/root/modules/$number.ko" || cannot_tell "$path cannot be unpacked"
done <"$work/order"
"#;

const INIT: &str = r#"
cat >"$work/root/init" <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /share
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
exec >/dev/console 2>&1
for module in /modules/*.ko; do
    [ -e "$module" ] && insmod "$module"
done
echo "guest: up with kernel $(uname -r)"
sh /commands
echo "guest: ends with $?"
poweroff -f
END
chmod 755 "$work/root/init"
"#;

/// Functions that boot the guest and read its console; an emulated guest takes half a minute. If QEMU itself fails or
/// is stopped, that says nothing about the guest.
const START: &str = r#"
# Boots the guest with these arguments besides; what it says is in "$work/console".
starts() {
    (cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd" ||
        cannot_tell "the initrd cannot be packed"
    : >"$work/serial"
    timeout 300 "$qemu" -machine q35,accel=kvm:tcg -m 512 -nodefaults -display none -no-reboot \
        -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 panic=-1 quiet" \
        -serial "file:$work/serial" "$@" 2>&1
    code=$?
    tr -d '\r' <"$work/serial" >"$work/console"
    tail -n 20 "$work/console"
    [ "$code" -ne 124 ] || cannot_tell "the guest came to no end in 300 s"
    [ "$code" -eq 0 ] || cannot_tell "QEMU ended with $code"
}
came_up() {
    grep -q 'guest: up' "$work/console"
}
# The exit code of what the guest did.
ended() {
    sed -n 's/.*guest: ends with \([0-9]*\).*/\1/p' "$work/console"
}
"#;

#[cfg(test)]
mod tests {
    /// Programs and commands are in here-documents with a quoted delimiter: only a line that is the delimiter ends one.
    #[test]
    fn reproducer_text_never_ends_its_here_document() {
        use suites::reproducer::Reproducer;
        let (mut programs, mut guests) = (0, 0);
        for test in suites::catalogue::tests() {
            let text = match test.reproducer {
                Some(Reproducer::SystemCalls(program)) => {
                    programs += 1;
                    program
                }
                Some(Reproducer::Guest(guest)) => {
                    guests += 1;
                    guest.commands
                }
                _ => continue,
            };
            assert!(text.lines().all(|line| line != "END"), "{}", test.id);
        }
        assert!(programs > 0 && guests > 0, "{programs} programs and {guests} guests");
    }
}
