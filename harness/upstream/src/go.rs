//! Profile values read out of the Go runtime's source.

use crate::checkout::Tree;
use crate::qmp;
use crate::source::{Item, item, line_of, make_variable, makefile_list, quoted, quoted_after, without_comments};
use crate::values::{Value, yes_or_no};
use model::profile::{BlkReadOnly, DaemonStyle, Profile, fixed};
use model::share::Share;

const GOVMM: &[&str] =
    &["src/runtime/pkg/govmm/qemu/qemu.go", "src/runtime/vendor/github.com/kata-containers/govmm/qemu/qemu.go"];
const QMP: &[&str] =
    &["src/runtime/pkg/govmm/qemu/qmp.go", "src/runtime/vendor/github.com/kata-containers/govmm/qemu/qmp.go"];
const QEMU: &[&str] = &["src/runtime/virtcontainers/qemu.go"];
const BASE: &[&str] = &["src/runtime/virtcontainers/qemu_arch_base.go"];
const AMD64: &[&str] = &["src/runtime/virtcontainers/qemu_amd64.go"];
const DAEMON: &[&str] = &["src/runtime/virtcontainers/virtiofsd.go"];
const AGENT: &[&str] = &["src/runtime/virtcontainers/kata_agent.go"];
const CONFIG: &[&str] = &["src/runtime/pkg/katautils/config.go"];
const SHIPPED: &[&str] =
    &["src/runtime/config/configuration-qemu.toml.in", "src/runtime/cli/config/configuration-qemu.toml.in"];
const MAKEFILE: &[&str] = &["src/runtime/Makefile"];
const OPTIONS: &[&str] = &["src/runtime/arch/amd64-options.mk"];
const GUEST_STORAGE: &[&str] =
    &["src/agent/src/storage/mod.rs", "src/agent/src/storage/fs_handler.rs", "src/agent/src/mount.rs"];

/// All files that are read.
pub(crate) const FILES: &[&str] = &[
    GOVMM[0],
    GOVMM[1],
    QMP[0],
    QMP[1],
    QEMU[0],
    BASE[0],
    AMD64[0],
    DAEMON[0],
    AGENT[0],
    CONFIG[0],
    SHIPPED[0],
    SHIPPED[1],
    MAKEFILE[0],
    OPTIONS[0],
    GUEST_STORAGE[0],
    GUEST_STORAGE[1],
    GUEST_STORAGE[2],
];

/// Returns a function, and the path of the first of these files that exists.
fn function<'a>(tree: &'a Tree, paths: &[&'a str], name: &str) -> Option<(&'a str, Item<'a>)> {
    let (path, text) = tree.first(paths)?;
    item(text, name).map(|item| (path, item))
}

pub(crate) fn values(tree: &Tree, profile: &Profile) -> Vec<Value> {
    let qemu = &profile.qemu;
    let made = |key, files: &'static [&'static str], variable: &str, expected: String| {
        let found = tree.first(files).and_then(|(_, text)| make_variable(text, variable));
        Value::new(key, files[0], found.map(|(value, line)| (value, Some(line))), expected)
    };
    let within = |key, files: &'static [&'static str], name: &str, see: fn(&str) -> String, expected: String| {
        let found = function(tree, files, name);
        let path = found.as_ref().map_or(files[0], |(path, _)| path);
        Value::new(key, path, found.as_ref().map(|(_, item)| (see(item.text), Some(item.line))), expected)
    };
    let mut all = vec![
        made("machine", OPTIONS, "MACHINETYPE", qemu.machine.clone()),
        made("cpu-features", OPTIONS, "CPUFEATURES", qemu.cpu_features.clone()),
        made("vcpus", MAKEFILE, "DEFVCPUS", qemu.vcpus.to_string()),
        made("memory-mib", MAKEFILE, "DEFMEMSZ", qemu.memory_mib.to_string()),
        made("memory-slots", MAKEFILE, "DEFMEMSLOTS", qemu.memory_slots.to_string()),
        made("cache", MAKEFILE, "DEFVIRTIOFSCACHE", profile.virtiofsd.cache.clone()),
        made("extra-args", MAKEFILE, "DEFVIRTIOFSEXTRAARGS", makefile_list(&profile.virtiofsd.extra_args)),
    ];
    let options = tree.first(AMD64).and_then(|(_, text)| quoted_after(text, "defaultQemuMachineOptions"));
    let options = options.map(|(value, line)| (value, Some(line)));
    all.push(Value::new("machine-options", AMD64[0], options, qemu.machine_options.as_str()));
    all.push(foreground(tree, qemu.foreground));
    all.push(within("bridge", QEMU, "genericAppendBridges", bridge, qemu.bridge.clone()));
    for name in ["NetDevice.QemuDeviceParams", "VSOCKDevice.QemuParams", "VhostUserDevice.QemuFSParams"] {
        let see = |text: &str| yes_or_no(text.contains("\"bus=pcie.0\"")).to_owned();
        all.push(within(
            "root-bus",
            GOVMM,
            name,
            see,
            yes_or_no(qemu.root_bus.as_deref() == Some("pcie.0")).to_owned(),
        ));
    }
    let see = |text: &str| yes_or_no(text.contains("\"queue-size=%d\"")).to_owned();
    let sized = yes_or_no(qemu.virtio_fs_queue_size.is_some()).to_owned();
    all.push(within("virtio-fs-queue-size", GOVMM, "VhostUserDevice.QemuFSParams", see, sized));
    if let Some(size) = qemu.virtio_fs_queue_size {
        all.push(made("virtio-fs-queue-size", MAKEFILE, "DEFVIRTIOFSQUEUESIZE", size.to_string()));
    }
    let disk = "BlockDevice.QemuParams";
    let see = |text: &str| yes_or_no(text.contains("\"scsi=off\"")).to_owned();
    all.push(within("blk-scsi-off", GOVMM, disk, see, yes_or_no(qemu.blk_scsi_off).to_owned()));
    let see = |text: &str| quoted(text).into_iter().find(|s| s.starts_with("readonly")).unwrap_or("none").to_owned();
    let read_only = match qemu.blk_read_only {
        BlkReadOnly::Readonly => "readonly",
        BlkReadOnly::ReadonlyOn => "readonly=on",
        BlkReadOnly::AutoReadOnly => "auto-read-only",
        BlkReadOnly::ReadOnly => "read-only",
    };
    all.push(within("blk-read-only", GOVMM, disk, see, read_only.to_owned()));
    all.push(runtime_params(tree, &qemu.runtime_params));
    let see = |text: &str| yes_or_no(text.contains("{\"selinux\", \"0\"}")).to_owned();
    let selinux = yes_or_no(qemu.guest_selinux.as_deref() == Some("selinux=0")).to_owned();
    all.push(within("guest-selinux", QEMU, "qemu.kernelParameters", see, selinux));
    all.push(kernel_params(tree, &qemu.kernel_params));
    let style = match profile.virtiofsd.style {
        DaemonStyle::DashO => "--syslog -o cache= -o no_posix_lock -o source= --fd=%v -f",
        DaemonStyle::LongFd => "--syslog --cache= --shared-dir= --fd=%v",
        DaemonStyle::LongSocket => "--socket-path",
    };
    all.push(within("style", DAEMON, "virtiofsd.args", daemon, style.to_owned()));
    let handler = GUEST_STORAGE.iter().find_map(|path| {
        let (path, text) = tree.first(&[path])?;
        line_of(text, "DRIVER_9P_TYPE").map(|line| (path, line))
    });
    let expected = yes_or_no(profile.shares(Share::Virtio9p));
    all.push(Value::new(
        "shares virtio-9p",
        handler.map_or(GUEST_STORAGE[0], |(path, _)| path),
        Some((yes_or_no(handler.is_some()), handler.map(|(_, line)| line))),
        expected,
    ));
    all.push(gates(tree, profile));
    all.extend(qmp::go(tree, QMP, QEMU, profile));
    all
}

/// Reads whether QEMU stays in the foreground. It is a daemon if `Daemonize` is set, and inherits its socket if the
/// monitor has a descriptor.
fn foreground(tree: &Tree, expected: bool) -> Value {
    let found = tree.first(QEMU).map(|(_, text)| {
        let line = text.lines().position(|line| {
            line.trim_start().strip_prefix("Daemonize:").is_some_and(|value| value.trim().starts_with("true"))
        });
        (yes_or_no(line.is_none()), line.map(|at| at + 1))
    });
    Value::new("foreground", QEMU[0], found, yes_or_no(expected))
}

/// Returns the bridge's options after the chassis number, from its last assignments: the bridges that a firmware needs
/// precede the plain bridge in the source.
fn bridge(text: &str) -> String {
    let last = |name: &str| {
        text.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.split_once(',').map(|v| v.0.trim()))
    };
    let shpc = match last("SHPC:") {
        Some("true") => "on",
        Some("false") => "off",
        _ => "?",
    };
    let reserve = [("IOReserve:", "io-reserve"), ("MemReserve:", "mem-reserve"), ("Pref64Reserve:", "pref64-reserve")];
    let reserve = reserve.map(|(field, option)| {
        last(field).map(|value| format!(",{option}={}", value.trim_matches('"'))).unwrap_or_default()
    });
    format!("shpc={shpc},addr={}{}", fixed::BRIDGE_ADDRESS, reserve.concat())
}

/// Returns `{"tsc", "reliable"}, {"no_timer_check", ""}` in the form of a command line.
fn params(text: &str) -> Vec<String> {
    let words = quoted(text);
    words
        .chunks(2)
        .map(|pair| match pair {
            [key, ""] | [key] => (*key).to_owned(),
            [key, value, ..] => format!("{key}={value}"),
            [] => String::new(),
        })
        .collect()
}

fn runtime_params(tree: &Tree, expected: &[String]) -> Value {
    let list = |files: &'static [&'static str], name: &str| {
        function(tree, files, name).map(|(_, item)| (params(item.text.split_once('{').map_or("", |s| s.1)), item.line))
    };
    let seen = list(AMD64, "var kernelParams").map(|(mut seen, line)| {
        // From 2.5 on `appendConsole` adds the consoles; the legacy serial console is not the default.
        let console = function(tree, BASE, "qemuArchBase.appendConsole").map(|(_, item)| item.text).unwrap_or_default();
        for name in ["hvc0", "hvc1"] {
            if console.contains(&format!("{{\"console\", \"{name}\"}}")) {
                seen.push(format!("console={name}"));
            }
        }
        seen.extend(list(BASE, "var kernelParamsNonDebug").map(|found| found.0).unwrap_or_default());
        let default = tree.first(QEMU).and_then(|(_, text)| {
            let rest = text.split_once("defaultKernelParameters = []Param{")?.1;
            Some(params(rest.split_once("\n}")?.0))
        });
        seen.extend(default.unwrap_or_default());
        (seen.join(" "), Some(line))
    });
    Value::new("runtime-params", AMD64[0], seen, expected.join(" "))
}

/// Reads the configuration's parameters: the scan of SCSI disks, those for the agent, then the shipped ones.
fn kernel_params(tree: &Tree, expected: &[String]) -> Value {
    let mut seen = Vec::new();
    let scsi = tree.first(MAKEFILE).and_then(|(_, text)| make_variable(text, "DEFBLOCKSTORAGEDRIVER_QEMU"));
    let scan =
        function(tree, CONFIG, "SetKernelParams").is_some_and(|(_, item)| item.text.contains("\"scsi_mod.scan\""));
    if scan && scsi.is_some_and(|(driver, _)| driver == "virtio-scsi") {
        seen.push("scsi_mod.scan=none".to_owned());
    }
    let shipped = tree.first(SHIPPED).map(|(_, text)| text).unwrap_or_default();
    let timeout =
        shipped.lines().find_map(|line| line.strip_prefix("cdh_api_timeout ")?.trim_start().strip_prefix("= "));
    let passed =
        function(tree, AGENT, "KataAgentKernelParams").is_some_and(|(_, item)| item.text.contains("CdhApiTimeout"));
    seen.extend(timeout.filter(|_| passed).map(|seconds| format!("agent.cdh_api_timeout={seconds}")));
    let own = tree.first(OPTIONS).and_then(|(_, text)| make_variable(text, "KERNELPARAMS"));
    let line = own.map(|(_, line)| line);
    seen.extend(own.into_iter().flat_map(|(words, _)| words.split(' ')).filter(|w| !w.is_empty()).map(str::to_owned));
    Value::new("kernel-params", OPTIONS[0], Some((seen.join(" "), line)), expected.join(" "))
}

/// Returns virtiofsd's fixed options in their order, with `=` or `%v` in the place of a value.
fn daemon(text: &str) -> String {
    let debug = text.find("if v.debug").unwrap_or(text.len());
    let foreground = text[debug..].contains("\"-f\"");
    let mut options: Vec<&str> = quoted(&without_comments(&text[..debug]))
        .into_iter()
        .map(|option| match option {
            "--fd=%v" => "--fd=%v",
            "-f" => "-f",
            "-o" => "-o",
            "--syslog" => "--syslog",
            "cache=" => "cache=",
            "--cache=" => "--cache=",
            "no_posix_lock" => "no_posix_lock",
            "source=" => "source=",
            "--shared-dir=" => "--shared-dir=",
            _ => "?",
        })
        .collect();
    if foreground {
        options.push("-f");
    }
    options.join(" ")
}

/// Reports the names of the profile's gates that are nowhere in the runtime's source.
fn gates(tree: &Tree, profile: &Profile) -> Value {
    let texts: Vec<&str> =
        [GOVMM, QMP, QEMU, BASE, AMD64].iter().filter_map(|files| tree.first(files)).map(|(_, text)| text).collect();
    // The gates of Kata's QEMU build are in no source of the runtime; `built` compares them with the build's lists.
    let of_the_runtime = profile.gates.iter().filter(|gate| !gate.source.contains("build-qemu.sh"));
    let missing: Vec<&str> = of_the_runtime
        .map(|gate| gate.name.as_str())
        .filter(|name| {
            !texts.iter().any(|text| text.contains(&format!("\"{name}\"")) || text.contains(&format!("\"{name},")))
        })
        .collect();
    Value::new("gates that the source does not have", GOVMM[0], Some((missing.join(" "), None)), "")
}
