//! Scripts that need only a command line, and no running guest.

use super::{BugError, FailedTest, WORK, line, qemu, quoted, word};
use crate::bug::options::lacking;
use model::foreign::qemu::Complaint;
use serde_json::json;
use suites::outcome::{FailureDetail, ListedName};
use suites::reproducer::Plug;

/// Arguments for which QEMU lists the choices.
const LISTED: &[&str] = &["-device", "-object", "-machine"];
/// Arguments of QEMU that refer to no other argument of its command line.
const ALONE: &[&str] = &["-machine", "-cpu", "-m", "-smp", "-rtc", "-global", "-overcommit"];
/// Minimum length of a program's words to search for, in characters.
const FEWEST: usize = 8;
/// Arguments for a guest that does not run.
const IDLE: &str = "-nodefaults -display none -S";

/// Checks that QEMU's lists lack names.
pub(super) fn qemu_lists(failed: &FailedTest<'_>) -> Result<String, BugError> {
    let FailureDetail::NotListed { names } = &failed.failure.detail else { return Err(BugError::UnnamedInLists) };
    let mut flags: Vec<&str> = names.iter().map(|listed| listed.flag.as_str()).collect();
    if flags.is_empty() || !flags.iter().all(|flag| LISTED.contains(flag)) {
        return Err(BugError::UnnamedInLists);
    }
    flags.dedup();
    let mut out = qemu(failed)?;
    out.push_str(
        r#"
# Looks for a name in a list of QEMU's; that of its devices has it in quotes.
wants() {
    grep -Eq "^ *$2( |\$)|^name \"$2\"" "$work/list$1" || missing="$missing $1 $2"
}

echo "== control: the lists have something in them"
"#,
    );
    for flag in flags {
        out.push_str(&format!(
            "timeout 60 \"$qemu\" {flag} help >\"$work/list{flag}\" 2>&1 || cannot_tell \"$qemu {flag} help fails\"\n\
             [ \"$(grep -c . \"$work/list{flag}\")\" -ge 5 ] || cannot_tell \"$qemu {flag} help lists next to nothing\"\n"
        ));
    }
    out.push_str("\necho \"== what Kata Containers asks for\"\nmissing=\n");
    for ListedName { flag, name } in names {
        out.push_str(&format!("wants {flag} {}\n", quoted(name)));
    }
    out.push_str(
        "[ -z \"$missing\" ] || reproduced \"QEMU does not list$missing\"\nnot_reproduced \"QEMU lists all of it\"\n",
    );
    Ok(out)
}

/// Checks that QEMU refuses an argument, or a property of an argument.
pub(super) fn qemu_refuses(failed: &FailedTest<'_>) -> Result<String, BugError> {
    let FailureDetail::QemuRefusal { flag, value, words } = &failed.failure.detail else {
        return Err(BugError::NoRefusedArgument);
    };
    let Smallest { before, flag, value } = smallest(failed, flag, value)?;
    let machine = quoted(&failed.profile.qemu.machine);
    let argument = line([flag.as_str(), &value]);
    Ok(format!(
        r#"{qemu}
# Starts a QEMU whose guest does not run, with these arguments, and tells it to quit; $said is what it says.
starts() {{
    said=$(echo quit | timeout 60 "$qemu" -machine {machine},accel=tcg {IDLE} -monitor stdio "$@" 2>&1)
}}

echo "== control: QEMU starts without the argument"
starts || cannot_tell "QEMU does not start at all: $said"

echo "== what Kata Containers passes"
{before}starts {argument}
code=$?
echo "$said"
case $code in
    0) not_reproduced "QEMU takes it" ;;
    124) cannot_tell "QEMU came to no end in 60 s" ;;
    126 | 127) cannot_tell "QEMU cannot be run" ;;
esac
case $said in
    *{words}*) reproduced "QEMU refuses it in these words" ;;
esac
cannot_tell "QEMU ends with $code, and not in these words"
"#,
        qemu = qemu(failed)?,
        words = quoted(words),
    ))
}

/// The smallest argument that shows a refusal.
struct Smallest {
    /// Lines that must precede the argument.
    before: String,
    flag: String,
    value: String,
}

/// Returns the smallest argument for the refusal of this flag with this value.
fn smallest(failed: &FailedTest<'_>, flag: &str, value: &str) -> Result<Smallest, BugError> {
    let Complaint::NoProperty { of, name } = failed.failure.detail.complaint() else {
        let argument = Smallest { before: String::new(), flag: flag.to_owned(), value: value.to_owned() };
        return match ALONE.contains(&flag) {
            true => Ok(argument),
            false => Err(BugError::NamesOtherArguments { flag: flag.to_owned() }),
        };
    };
    if flag == "-object" && value.split(',').next() == Some(of) {
        return Ok(object(value));
    }
    // QEMU may quote another argument than the one with the property.
    let launches = failed.cell.launches.iter().filter(|launch| launch.profiles.contains(&failed.profile.name));
    let passed = launches.flat_map(|launch| &launch.argv).map(String::as_str);
    let mut arguments = std::iter::once(value).chain(passed);
    let property = arguments.find_map(|argument| property_of(argument, of, name));
    let property = property.ok_or_else(|| BugError::UnknownValue { of: of.to_owned(), name: name.to_owned() })?;
    Ok(Smallest { before: String::new(), flag: "-device".to_owned(), value: format!("{of},{property}") })
}

/// Returns the property of an argument of a type, if it is given there: `scsi=off` of
/// `virtio-blk-pci,drive=x,scsi=off`.
fn property_of<'a>(argument: &'a str, of: &str, name: &str) -> Option<&'a str> {
    let mut parts = argument.split(',');
    let first = parts.next()?;
    let is_its =
        first == of || first.strip_prefix("driver=") == Some(of) || first.strip_prefix("qom-type=") == Some(of);
    is_its.then(|| parts.find(|part| part.split('=').next() == Some(name)))?
}

/// Returns an object with its properties; paths that it reads are replaced by a file of the script.
fn object(value: &str) -> Smallest {
    let file = format!("{WORK}/file");
    let part = |part: &str| match part.split_once('=') {
        Some((key, path)) if path.starts_with('/') => format!("{key}={file}"),
        _ => part.to_owned(),
    };
    let size = value.split(',').find_map(|part| part.strip_prefix("size="));
    let bytes = size.filter(|size| size.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or("1048576");
    Smallest {
        before: format!("dd if=/dev/zero of={} bs=1 count=0 seek={bytes} 2>/dev/null\n", word(&file)),
        flag: "-object".to_owned(),
        value: value.split(',').map(part).collect::<Vec<_>>().join(","),
    }
}

/// Checks that virtiofsd refuses the profile's flags.
pub(super) fn daemon_refuses(failed: &FailedTest<'_>, daemon: &[String]) -> Result<String, BugError> {
    let (FailureDetail::DaemonEnded { said: output } | FailureDetail::DaemonLacksFlag { said: output }) =
        &failed.failure.detail
    else {
        return Err(BugError::SilentDaemon);
    };
    let words = fixed(output).ok_or(BugError::NoSteadyWords)?;
    let [path, flags @ ..] = daemon else { return Err(BugError::NoVirtiofsd) };
    // With this flag, its output would go to the system log.
    let flags = line(flags.iter().filter(|flag| *flag != "--syslog"));
    Ok(format!(
        r#"
daemon={path}
[ -x "$daemon" ] || cannot_tell "$daemon is not there"

echo "== control: the daemon runs"
timeout 20 "$daemon" --version || cannot_tell "$daemon does not answer --version"

echo "== what Kata Containers passes, without --syslog, so that it is seen what the daemon says"
mkdir "$work/share"
timeout 10 "$daemon" {flags} >"$work/said" 2>&1 3</dev/null
code=$?
cat "$work/said"
case $code in
    124) not_reproduced "the daemon takes the flags, and waited for 10 s" ;;
    0 | 126 | 127) ;;
    *) grep -qF {words} "$work/said" && reproduced "the daemon ends with $code in these words" ;;
esac
cannot_tell "the daemon ends with $code, and not in these words"
"#,
        path = quoted(path),
        words = quoted(words),
    ))
}

/// Returns the start of a program's words up to the first path, name or number.
fn fixed(text: &str) -> Option<&str> {
    let end = text.find(|c: char| "`'\"/\n".contains(c) || c.is_ascii_digit()).unwrap_or(text.len());
    let words = text[..end].trim();
    (words.len() >= FEWEST).then_some(words)
}

/// Checks that the kernel's configuration lacks options.
pub(super) fn kernel_options(failed: &FailedTest<'_>) -> Result<String, BugError> {
    let lacking = lacking(&failed.failure).ok_or(BugError::UnnamedOptions)?;
    let (names, value) = (lacking.names, if lacking.built_in { "y" } else { "[ym]" });
    Ok(format!(
        r#"
config=
for file in /boot/config-* /lib/modules/*/config; do
    [ -r "$file" ] && config=$file
done
[ -n "$config" ] || cannot_tell "the kernel's configuration is in neither /boot nor /lib/modules"

# Whether an option is there.
has() {{
    grep "CONFIG_${{1}}[= ]" "$config" || echo "CONFIG_$1 is not in it"
    grep -q "^CONFIG_$1={value}\$" "$config"
}}

echo "== control: $config is a kernel's configuration"
grep -q '^CONFIG_MODULES=' "$config" || cannot_tell "$config does not say whether there are modules"

echo "== what Kata Containers asks for"
missing=
{checks}[ -z "$missing" ] || reproduced "the kernel lacks$missing"
not_reproduced "the kernel has all of it"
"#,
        checks = names.iter().map(|name| format!("has {name} || missing=\"$missing {name}\"\n")).collect::<String>(),
    ))
}

/// Checks that QEMU refuses to plug a device.
pub(super) fn plugs(failed: &FailedTest<'_>, plug: &Plug) -> Result<String, BugError> {
    let FailureDetail::QmpRefusal { command, description: message, .. } = &failed.failure.detail else {
        return Err(BugError::NoRefusedDevice);
    };
    if command != "device_add" {
        return Err(BugError::NoRefusedDevice);
    }
    // In an older journal, this program's own remarks follow.
    let words = message.split(['\n', ';']).next().unwrap_or(message).trim();
    if words.is_empty() {
        return Err(BugError::SilentQemu);
    }
    let add = |device: &serde_json::Value| quoted(&json!({ "execute": "device_add", "arguments": device }).to_string());
    let control = match plug.typed == plug.device {
        true => "echo \"== control: QEMU answers on QMP\"\n\
                 asks '{\"execute\":\"query-status\"}'\n\
                 grep -q '\"status\"' \"$work/said\" || cannot_tell \"QEMU does not answer: $(cat \"$work/said\")\"\n"
            .to_owned(),
        false => format!(
            "echo \"== control: QEMU takes the same device with switches and numbers as JSON has them\"\n\
             asks {}\n\
             if grep -q '\"error\"' \"$work/said\"; then\n    cannot_tell \"QEMU refuses it in any form: $(cat \"$work/said\")\"\nfi\n",
            add(&plug.typed)
        ),
    };
    Ok(format!(
        r#"{qemu}
# Asks a QEMU whose guest does not run.
asks() {{
    printf '%s\n' '{{"execute":"qmp_capabilities"}}' "$1" '{{"execute":"quit"}}' |
        timeout 60 "$qemu" -machine {machine},accel=tcg -m 512 {IDLE} -qmp stdio \
            {arguments} >"$work/said" 2>&1 ||
        cannot_tell "QEMU does not start: $(cat "$work/said")"
}}

{control}
echo "== what Kata Containers sends{instead}"
asks {device}
grep -qF {words} "$work/said" && reproduced "QEMU refuses it in these words: $(cat "$work/said")"
grep '"error"' "$work/said" && cannot_tell "QEMU refuses it in other words"
not_reproduced "QEMU takes it"
"#,
        qemu = qemu(failed)?,
        machine = quoted(&failed.profile.qemu.machine),
        arguments = line(&plug.arguments),
        device = add(&plug.device),
        instead = plug.instead.map(|what| format!(", with {what}")).unwrap_or_default(),
        words = quoted(words),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_part_of_an_error_message_is_extracted() {
        assert_eq!(fixed("fuse: unknown option(s): ` | --cache=auto'"), Some("fuse: unknown option(s):"));
        assert_eq!(fixed("fuse: invalid argument `/run/kq/3/virtiofsd'"), Some("fuse: invalid argument"));
        assert_eq!(fixed("/x: no"), None);
        assert_eq!(fixed(""), None);
    }

    #[test]
    fn a_property_is_found_only_in_its_device_types_argument() {
        let device = "virtio-blk-pci,drive=x,scsi=off";
        assert_eq!(property_of(device, "virtio-blk-pci", "scsi"), Some("scsi=off"));
        assert_eq!(property_of("driver=virtio-blk-pci,scsi=off", "virtio-blk-pci", "scsi"), Some("scsi=off"));
        assert_eq!(property_of(device, "virtio-blk-pci", "serial"), None);
        assert_eq!(property_of("scsi-hd,scsi=off", "virtio-blk-pci", "scsi"), None);
    }

    #[test]
    fn a_memory_backend_reads_a_file_that_the_script_creates() {
        let object = object("memory-backend-file,id=mem0,mem-path=/var/tmp/x-7,size=134217728,readonly=on");
        assert_eq!(object.value, "memory-backend-file,id=mem0,mem-path=$work/file,size=134217728,readonly=on");
        assert!(object.before.contains("of=\"$work/file\"") && object.before.contains("seek=134217728"));
    }
}
