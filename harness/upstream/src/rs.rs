//! Profile values read out of runtime-rs's source.

use crate::checkout::Tree;
use crate::qmp;
use crate::source::{item, line_of, make_variable, makefile_list, quoted};
use crate::values::{Value, yes_or_no};
use model::profile::{BlkReadOnly, BlkSource, Profile, fixed};

const GENERATOR: &str = "src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs";
const INNER: &str = "src/runtime-rs/crates/hypervisor/src/qemu/inner.rs";
const QMP: &str = "src/runtime-rs/crates/hypervisor/src/qemu/qmp.rs";
const PARAMS: &str = "src/runtime-rs/crates/hypervisor/src/kernel_param.rs";
const DAEMON: &str = "src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs";
const AGENT: &str = "src/libs/kata-types/src/config/agent.rs";
const MAKEFILE: &str = "src/runtime-rs/Makefile";
const OPTIONS: &str = "src/runtime-rs/arch/x86_64-options.mk";

/// All files that are read.
pub(crate) const FILES: &[&str] = &[GENERATOR, INNER, QMP, PARAMS, DAEMON, AGENT, MAKEFILE, OPTIONS];

pub(crate) fn values(tree: &Tree, profile: &Profile) -> Vec<Value> {
    let qemu = &profile.qemu;
    let text = |path: &'static str| tree.first(&[path]).map(|(_, text)| text).unwrap_or_default();
    let made = |key, path: &'static str, variable: &str, expected: String| {
        Value::new(key, path, make_variable(text(path), variable).map(|(value, line)| (value, Some(line))), expected)
    };
    let within = |key, path: &'static str, name: &str, see: &dyn Fn(&str) -> String, expected: &str| {
        let found = item(text(path), name);
        Value::new(key, path, found.map(|item| (see(item.text), Some(item.line))), expected)
    };
    let has = |needle: &'static str| move |text: &str| yes_or_no(text.contains(needle)).to_owned();
    let sized = qemu.virtio_fs_queue_size.map(|size| size.to_string()).unwrap_or_default();
    let mut all = vec![
        made("machine", OPTIONS, "MACHINETYPE", qemu.machine.clone()),
        made("cpu-features", OPTIONS, "CPUFEATURES", qemu.cpu_features.clone()),
        made("vcpus", MAKEFILE, "DEFVCPUS_QEMU", qemu.vcpus.to_string()),
        made("memory-mib", MAKEFILE, "DEFMEMSZ", qemu.memory_mib.to_string()),
        made("memory-slots", MAKEFILE, "DEFMEMSLOTS", qemu.memory_slots.to_string()),
        made("cache", MAKEFILE, "DEFVIRTIOFSCACHE", profile.virtiofsd.cache.clone()),
        made("extra-args", MAKEFILE, "DEFVIRTIOFSEXTRAARGS", makefile_list(&profile.virtiofsd.extra_args)),
        made("virtio-fs-queue-size", MAKEFILE, "DEFVIRTIOFSQUEUESIZE", sized),
    ];
    all.push(kernel_params(tree, &qemu.kernel_params));
    let machine = |text: &str| {
        let value = |field: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(field)).and_then(|v| quoted(v).first().copied())
        };
        format!("accel={},kernel_irqchip={}", value("accel:").unwrap_or("?"), value("kernel_irqchip:").unwrap_or("?"))
    };
    all.push(within("machine-options", GENERATOR, "impl Machine", &machine, &qemu.machine_options));
    all.push(within(
        "foreground",
        GENERATOR,
        "impl ToQemuParams for QmpSocket",
        &has("fd="),
        yes_or_no(qemu.foreground),
    ));
    let bridge = |text: &str| {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or("?");
            quoted(value).first().copied().unwrap_or(value.trim().trim_end_matches(',')).to_owned()
        };
        let shpc = if field("shpc:") == "false" { "off" } else { "on" };
        let (io, mem, pref64) = (field("io_reserve:"), field("mem_reserve:"), field("pref64_reserve:"));
        let addr = fixed::BRIDGE_ADDRESS;
        format!("shpc={shpc},addr={addr},io-reserve={io},mem-reserve={mem},pref64-reserve={pref64}")
    };
    all.push(within("bridge", GENERATOR, "impl DevicePciBridge", &bridge, &qemu.bridge));
    let read_only = match qemu.blk_read_only {
        BlkReadOnly::AutoReadOnly => "auto-read-only=",
        BlkReadOnly::ReadOnly => "read-only=",
        BlkReadOnly::Readonly | BlkReadOnly::ReadonlyOn => "readonly",
    };
    let seen = ["auto-read-only=", "read-only="].into_iter().find_map(|option| {
        // Only the text before the tests, which mention options that must not be there.
        let code = text(GENERATOR).split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
        line_of(code, option).map(|line| (option, Some(line)))
    });
    all.push(Value::new("blk-read-only", GENERATOR, seen, read_only));
    let fdset = line_of(text(GENERATOR), "\"-add-fd\"");
    let source = |fdset: bool| if fdset { "fdset" } else { "path" };
    let seen = Some((source(fdset.is_some()), fdset));
    all.push(Value::new("blk-source", GENERATOR, seen, source(qemu.blk_source == BlkSource::Fdset)));
    let asks = line_of(text(QMP), "query_fdsets");
    all.push(Value::new(
        "query-fdsets",
        QMP,
        Some((yes_or_no(asks.is_some()), asks)),
        yes_or_no(qemu.blk_source == BlkSource::Fdset),
    ));
    let fixed = |text: &str| {
        let new = text.split("fn new(").nth(1).unwrap_or_default().split("if debug").next().unwrap_or_default();
        quoted(new).chunks(2).map(|pair| pair.join("=")).collect::<Vec<_>>().join(" ")
    };
    all.push(within("runtime-params", PARAMS, "impl KernelParams", &fixed, &qemu.runtime_params.join(" ")));
    let selinux =
        |text: &str| yes_or_no(text.contains("\"selinux={}\"") && text.contains("disable_guest_selinux")).to_owned();
    all.push(within("guest-selinux", GENERATOR, "impl Kernel", &selinux, yes_or_no(qemu.guest_selinux.is_some())));
    let daemon = text(DAEMON);
    let options =
        daemon.split("fn virtiofsd_args").nth(1).unwrap_or_default().split("extra_args").next().unwrap_or_default();
    let options: Vec<&str> = quoted(options).into_iter().filter(|option| option.starts_with("--")).collect();
    let seen = (options.join(" "), line_of(daemon, "fn virtiofsd_args"));
    all.push(Value::new("style", DAEMON, Some(seen), "--socket-path --shared-dir --cache"));
    let line = profile.virtiofsd.ready_line.as_deref().unwrap_or_default();
    let waits = line_of(daemon, line);
    all.push(Value::new("ready-line", DAEMON, Some((yes_or_no(waits.is_some()), waits)), "yes"));
    all.push(gates(tree, profile));
    all.extend(qmp::rs(tree, QMP, profile));
    all
}

/// Reads the kernel parameters: those that runtime-rs sets for the agent, then the shipped ones.
fn kernel_params(tree: &Tree, expected: &[String]) -> Value {
    let mut seen = Vec::new();
    let agent = tree.first(&[AGENT]).map(|(_, text)| text).unwrap_or_default();
    let default = item(agent, "fn default_cdh_api_timeout_ms");
    let milliseconds =
        default.and_then(|item| item.text.lines().find_map(|line| line.trim().replace('_', "").parse::<u32>().ok()));
    seen.extend(milliseconds.map(|ms| format!("agent.cdh_api_timeout={}", ms / 1000)));
    let own = tree.first(&[OPTIONS]).and_then(|(_, text)| make_variable(text, "KERNELPARAMS"));
    seen.extend(own.into_iter().flat_map(|(words, _)| words.split(' ')).filter(|w| !w.is_empty()).map(str::to_owned));
    Value::new("kernel-params", OPTIONS, Some((seen.join(" "), own.map(|(_, line)| line))), expected.join(" "))
}

/// Reports the names of the profile's gates that are nowhere in the runtime's source. `-pci` is ignored, because the
/// source appends the transport to a device's name.
fn gates(tree: &Tree, profile: &Profile) -> Value {
    let texts: Vec<&str> =
        [GENERATOR, INNER, QMP, OPTIONS].iter().filter_map(|path| tree.first(&[path])).map(|(_, t)| t).collect();
    // The gates of Kata's QEMU build are compared in `built`.
    let of_the_runtime = profile.gates.iter().filter(|gate| !gate.source.contains("build-qemu.sh"));
    let missing: Vec<&str> = of_the_runtime
        .map(|gate| gate.name.as_str())
        .filter(|name| !texts.iter().any(|text| text.contains(name.trim_end_matches("-pci"))))
        .collect();
    Value::new("gates that the source does not have", GENERATOR, Some((missing.join(" "), None)), "")
}
