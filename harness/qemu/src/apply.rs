//! Application of deviations to arguments; the launch records each applied deviation.

use crate::argv::{MICROVM, MMIO_SUFFIX, NUMA_PORT};
use crate::deviation::{Deviation, Inapplicable, Program, RPC_PORT};
use crate::launch::{Arg, ArgumentForm, FIRST_FD, FdPurpose, InheritedFd, Launch};
use model::arch::Arch;
use model::profile::{DaemonSetting, IdRange, TRANSLATED_GIDS, TRANSLATED_UIDS};
use std::path::Path;

/// Maps all attributes of the guest to one prefix, as in virtiofsd's doc/xattr-mapping.md.
const XATTR_MAP: &str = "xattrmap=:map::user.virtiofs.:";
/// A limit above virtiofsd's own reserve, which is 609 in 1.13.2 (`INTERNAL_FD_RESERVE` in its src/main.rs).
const FEW_DESCRIPTORS: u32 = 1024;
/// Number of threads that serve requests if the setting asks for more than one.
const THREADS: u32 = 8;

/// Applies those deviations of the list that change QEMU's arguments, in the order of the list, and records them.
///
/// `arch` is the guest's architecture. The machine name does not tell it, because QEMU has a `virt` on several.
///
/// # Errors
/// When an argument that a deviation changes is missing, or the deviation was applied before. Earlier deviations stay
/// applied.
pub fn apply(launch: &mut Launch, arch: Arch, deviations: &[Deviation]) -> Result<(), Inapplicable> {
    deviations.iter().filter(|deviation| deviation.program() != Program::Virtiofsd).try_for_each(|deviation| {
        record(launch, deviation, |args, form, qmp| change_qemu(deviation, arch, args, form, qmp))
    })
}

/// Applies those deviations of the list that change virtiofsd's arguments, in the order of the list, and records them.
///
/// # Errors
/// When one of the deviations was applied before.
pub fn apply_to_daemon(launch: &mut Launch, deviations: &[Deviation]) -> Result<(), Inapplicable> {
    deviations
        .iter()
        .filter(|deviation| deviation.program() == Program::Virtiofsd)
        .try_for_each(|deviation| record(launch, deviation, |args, _, _| change_daemon(deviation, args)))
}

type EditResult = Result<(), &'static str>;

fn record(
    launch: &mut Launch,
    deviation: &Deviation,
    change: impl Fn(&mut Vec<Arg>, ArgumentForm, i32) -> EditResult,
) -> Result<(), Inapplicable> {
    let inapplicable =
        |expected| Inapplicable { deviation: deviation.clone(), program: launch.program.clone(), expected };
    let kind = std::mem::discriminant(deviation);
    if launch.deviations.iter().any(|applied| std::mem::discriminant(applied) == kind) {
        return Err(inapplicable("argument of Kata's left for it (it has been applied already)"));
    }
    let mut edited = launch.clone();
    if *deviation == Deviation::Foreground {
        let next = edited.fds.iter().map(|fd| fd.number + 1).max().unwrap_or(FIRST_FD);
        edited.fds.push(InheritedFd { number: next, purpose: FdPurpose::Qmp });
    }
    let qmp = edited.fd(FdPurpose::Qmp).unwrap_or_default();
    edited.edit(|args, form| change(args, form, qmp)).map_err(inapplicable)?;
    *launch = edited;
    launch.deviations.push(deviation.clone());
    // A descriptor that no argument names any more is not opened.
    let named: String = launch.args.iter().filter_map(|arg| arg.value.as_deref()).collect::<Vec<_>>().join(" ");
    match deviation {
        Deviation::NoVsock | Deviation::NoNetwork | Deviation::SocketNetwork { .. } => {
            launch.fds.retain(|fd| names_fd(&named, fd.number))
        }
        _ => {}
    }
    Ok(())
}

/// Returns whether an argument refers to the descriptor: `vhostfd=4`, `fds=5:6`, `unix:fd=3`.
fn names_fd(text: &str, number: i32) -> bool {
    let number = number.to_string();
    text.split([',', ' '])
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| matches!(*key, "vhostfd" | "vhostfds" | "fds" | "fd" | "unix:fd"))
        .any(|(_, value)| value.split(':').any(|n| n == number))
}

/// Returns whether Kata gives the guest a serial port instead of its virtio console.
fn has_a_serial_port(args: &[Arg]) -> bool {
    args.iter().any(|arg| arg.flag == "-serial")
}

/// Applies a deviation to QEMU's arguments. `qmp` is the descriptor of the socket on which QEMU serves QMP.
fn change_qemu(deviation: &Deviation, arch: Arch, args: &mut Vec<Arg>, form: ArgumentForm, qmp: i32) -> EditResult {
    match deviation {
        Deviation::Accelerator => {
            replace(args, "-machine", "accel=kvm", "accel=tcg", "-machine …,accel=kvm")?;
            // Only Arm has this option.
            match args.iter().any(|arg| arg.flag == "-machine" && has(arg, "gic-version=host")) {
                true => replace(args, "-machine", "gic-version=host", "gic-version=max", "gic-version=host"),
                false => Ok(()),
            }
        }
        Deviation::CpuModel => replace(args, "-cpu", "host", "max", "-cpu host"),
        Deviation::Foreground => {
            let daemonize = args.iter().position(|arg| arg.flag == "-daemonize").ok_or("-daemonize")?;
            args.remove(daemonize);
            let qmp = form.pick(&qmp.to_string(), "qmp-fd");
            let arg = args.iter_mut().find(|arg| arg.flag == "-qmp").ok_or("-qmp")?;
            arg.value = Some(format!("unix:fd={qmp},server=on,wait=off"));
            Ok(())
        }
        Deviation::NoVsock => {
            let device = format!("vhost-vsock-{}", suffix(args, arch));
            remove(args, "-device", &device, "-device vhost-vsock-pci")
        }
        Deviation::NoNetwork => {
            remove(args, "-netdev", "tap", "-netdev tap")?;
            // The Go runtime writes the driver as an option.
            let device = format!("virtio-net-{}", suffix(args, arch));
            let of_go = format!("driver={device}");
            let device = if args.iter().any(|a| a.is("-device", &of_go)) { of_go } else { device };
            remove(args, "-device", &device, "-device virtio-net-pci")
        }
        Deviation::SocketNetwork { address } => {
            let netdev = args.iter_mut().find(|a| a.is("-netdev", "tap")).and_then(|a| a.value.as_mut());
            let netdev = netdev.ok_or("-netdev tap")?;
            let id = netdev.split(',').find(|option| option.starts_with("id=")).ok_or("-netdev tap,id=…")?.to_owned();
            *netdev = format!("socket,{id},connect={}", form.pick(address, "peer"));
            Ok(())
        }
        Deviation::StandIn { file } => {
            let id = format!("id={NUMA_PORT}");
            let port = args.iter().any(|a| a.is("-device", "pcie-root-port") && has(a, &id));
            port.then_some(()).ok_or("-device pcie-root-port of a NUMA node")?;
            let file = form.pick(file, "stand-in");
            args.push(Arg::new("-drive", format!("id=stand-in,file={file},format=raw,if=none")));
            args.push(Arg::new("-device", format!("virtio-blk-pci,drive=stand-in,bus={NUMA_PORT}")));
            Ok(())
        }
        Deviation::BusModules { parameter } => add_parameter(args, parameter),
        Deviation::Frequency { khz } => {
            add_parameter(args, &format!("tsc_early_khz={}", form.pick(&khz.to_string(), "khz")))
        }
        Deviation::RpcPort { socket } => {
            let device = format!("virtio-serial-{}", suffix(args, arch));
            let serial = args.iter().any(|a| a.is("-device", &device) && has(a, "id=serial0"));
            if !serial {
                // Kata adds either a virtio-serial device or a serial port.
                has_a_serial_port(args).then_some(()).ok_or("-device virtio-serial-pci,id=serial0")?;
                args.push(Arg::new("-device", format!("{device},id=serial0")));
            }
            let socket = form.pick(socket, "rpc");
            args.push(Arg::new("-chardev", format!("socket,id=charrpc0,path={socket},server=on,wait=off")));
            let port = format!("virtserialport,bus=serial0.0,chardev=charrpc0,id=rpc0,name={RPC_PORT}");
            args.push(Arg::new("-device", port));
            Ok(())
        }
        Deviation::Initramfs { path } => {
            let kernel = args.iter().position(|arg| arg.flag == "-kernel").ok_or("-kernel")?;
            if args.iter().any(|arg| arg.flag == "-initrd") {
                return Err("image in the place of an initrd");
            }
            args.insert(kernel + 1, Arg::new("-initrd", form.pick(path, "initramfs")));
            Ok(())
        }
        Deviation::SerialLog { socket, terse } => serial_log(args, arch, &form.pick(socket, "serial-log"), *terse),
        Deviation::DaemonSandbox | Deviation::DaemonHandles | Deviation::DaemonSetting { .. } => {
            Err("arguments of virtiofsd")
        }
    }
}

/// Returns the end of the names of the machine's virtio devices.
fn suffix(args: &[Arg], arch: Arch) -> &'static str {
    if args.iter().any(|arg| arg.is("-machine", MICROVM)) { MMIO_SUFFIX } else { arch.virtio_bus() }
}

/// Adds a parameter to the kernel's command line.
fn add_parameter(args: &mut [Arg], parameter: &str) -> EditResult {
    let params = args.iter_mut().find(|arg| arg.flag == "-append").and_then(|arg| arg.value.as_mut());
    let params = params.ok_or("-append")?;
    *params = format!("{params} {parameter}");
    Ok(())
}

/// Puts the machine's serial line on a socket, and the kernel log on the serial line.
fn serial_log(args: &mut Vec<Arg>, arch: Arch, socket: &str, terse: bool) -> EditResult {
    // If Kata has a serial port, the first port is Kata's and the second is for the log.
    let port = match has_a_serial_port(args) {
        true => arch.second_serial_console().ok_or("machine that has two serial lines")?,
        false => arch.serial_console(),
    };
    let append = args.iter_mut().find(|a| a.flag == "-append").and_then(|a| a.value.as_mut());
    let params = append.ok_or("-append")?;
    let level = terse.then_some("loglevel=5");
    let console = format!("console={port}");
    let loud = params.split(' ').filter(|param| *param != "quiet").chain(level).chain([console.as_str()]);
    *params = loud.collect::<Vec<_>>().join(" ");
    args.push(Arg::new("-chardev", format!("socket,id=charserial0,path={socket},server=on,wait=off")));
    args.push(match arch {
        Arch::X86_64 => Arg::new("-device", "isa-serial,chardev=charserial0,id=serial-log0"),
        // This is the board's built-in port, whose back end can be set only in this way.
        Arch::Aarch64 => Arg::new("-serial", "chardev:charserial0"),
        Arch::Ppc64le => Arg::new("-device", "spapr-vty,chardev=charserial0,id=serial-log0"),
        Arch::S390x => Arg::new("-device", "sclpconsole,chardev=charserial0,id=serial-log0"),
    });
    Ok(())
}

fn change_daemon(deviation: &Deviation, args: &mut Vec<Arg>) -> EditResult {
    let dash_o =
        args.iter().any(|arg| arg.flag == "-o" && arg.value.as_deref().is_some_and(|v| v.starts_with("source=")));
    let long = args.iter().any(|arg| arg.flag.starts_with("--shared-dir"));
    if !dash_o && !long {
        return Err("shared directory");
    }
    let option = |args: &mut Vec<Arg>, name: &str| {
        let arg = if dash_o { Arg::new("-o", name) } else { Arg::flag(format!("--{}", name.replace('_', "-"))) };
        if !args.contains(&arg) {
            args.push(arg);
        }
    };
    match deviation {
        Deviation::DaemonSandbox => option(args, "sandbox=chroot"),
        Deviation::DaemonHandles => {}
        Deviation::DaemonSetting { setting } => match setting {
            DaemonSetting::Xattr => option(args, "xattr"),
            DaemonSetting::Acl => {
                option(args, "xattr");
                option(args, "posix_acl");
            }
            DaemonSetting::XattrMap => {
                option(args, "xattr");
                option(args, XATTR_MAP);
            }
            DaemonSetting::SandboxNone => option(args, "sandbox=none"),
            DaemonSetting::FewDescriptors => args.push(Arg::flag(format!("--rlimit-nofile={FEW_DESCRIPTORS}"))),
            DaemonSetting::WriteBack => option(args, "writeback"),
            DaemonSetting::UncachedMaps => {
                cache(args, "never")?;
                // Has no form with `-o`.
                args.push(Arg::flag("--allow-mmap"));
            }
            DaemonSetting::TranslatedIds => {
                // Have no forms with `-o`.
                args.push(Arg::flag(format!("--translate-uid={}", both_ways(TRANSLATED_UIDS))));
                args.push(Arg::flag(format!("--translate-gid={}", both_ways(TRANSLATED_GIDS))));
            }
            DaemonSetting::RelativeSocket => relative_socket(args)?,
            DaemonSetting::CacheNever => cache(args, "never")?,
            DaemonSetting::CacheMetadata => cache(args, "metadata")?,
            DaemonSetting::CacheAlways => cache(args, "always")?,
            DaemonSetting::ThreadPool => {
                let one = args.iter_mut().find(|arg| arg.flag == "--thread-pool-size=1");
                one.ok_or("--thread-pool-size=1")?.flag = format!("--thread-pool-size={THREADS}");
            }
        },
        _ => return Err("arguments of QEMU"),
    }
    Ok(())
}

/// Replaces the profile's cache policy, in whichever form it is written.
fn cache(args: &mut [Arg], policy: &str) -> EditResult {
    for arg in args {
        if arg.flag.starts_with("--cache=") {
            arg.flag = format!("--cache={policy}");
        } else if arg.flag == "--cache" {
            arg.value = Some(policy.to_owned());
        } else if arg.flag == "-o" && arg.value.as_deref().is_some_and(|value| value.starts_with("cache=")) {
            arg.value = Some(format!("cache={policy}"));
        } else {
            continue;
        }
        return Ok(());
    }
    Err("cache policy")
}

/// Returns the argument by which virtiofsd translates a range in both directions.
fn both_ways(range: IdRange) -> String {
    format!("map:{}:{}:{}", range.guest, range.host, range.count)
}

/// Leaves only the name of the socket; the daemon must be started in the socket's folder.
fn relative_socket(args: &mut [Arg]) -> EditResult {
    let socket = args.iter_mut().find(|arg| arg.flag == "--socket-path").and_then(|arg| arg.value.as_mut());
    let socket = socket.ok_or("--socket-path")?;
    let name = Path::new(socket.as_str()).file_name().and_then(|name| name.to_str()).ok_or("name of the socket")?;
    *socket = name.to_owned();
    Ok(())
}

/// Replaces one option in the value of one flag.
fn replace(args: &mut [Arg], flag: &str, old: &str, new: &str, expected: &'static str) -> EditResult {
    let arg = args.iter_mut().find(|arg| arg.flag == flag && has(arg, old)).ok_or(expected)?;
    let options = arg.value.iter().flat_map(|value| value.split(','));
    arg.value = Some(options.map(|option| if option == old { new } else { option }).collect::<Vec<_>>().join(","));
    Ok(())
}

/// Removes the one argument with this flag and first word.
fn remove(args: &mut Vec<Arg>, flag: &str, word: &str, expected: &'static str) -> EditResult {
    let at = args.iter().position(|arg| arg.is(flag, word)).ok_or(expected)?;
    args.remove(at);
    Ok(())
}

fn has(arg: &Arg, option: &str) -> bool {
    arg.value.as_deref().is_some_and(|value| value.split(',').any(|o| o == option))
}

#[cfg(test)]
mod tests;
