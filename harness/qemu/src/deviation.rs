//! The closed list of what may differ from Kata's own arguments, because an environment takes something away.
//!
//! Measured with QEMU 7.2 under TCG: of Kata's arguments it refuses `-cpu host` alone.
//! `kernel_irqchip=on` and `-global kvm-pit.lost_tick_policy=discard` are settings of the KVM accelerator and of a device
//! that exists under KVM only; TCG takes them without a word, so they stay.

use crate::launch::{Arg, FIRST_FD, FdPurpose, Form, InheritedFd, Launch};
use serde::{Deserialize, Serialize};

/// One deviation from what Kata passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "deviation")]
pub enum Deviation {
    /// No working KVM: `accel=kvm` becomes `accel=tcg`.
    Accelerator,
    /// `-cpu host` needs KVM: it becomes `-cpu max`, its features stay.
    CpuModel,
    /// QEMU is kept in the foreground and handed its QMP socket, as later Kata does: `-daemonize` is left out.
    Foreground,
    /// No `/dev/vhost-vsock`: the device is left out, and its descriptor with it.
    NoVsock,
    /// No tap device or no `/dev/vhost-net`: the interface is left out, and its descriptors with it.
    NoNetwork,
    /// No tap device or no `/dev/vhost-net`, and the test needs an interface: its other end is a socket of the harness's.
    SocketNetwork {
        /// Where the harness listens for QEMU.
        address: String,
    },
    /// The harness's own channel: one more port on Kata's virtio-serial device, named [`RPC_PORT`].
    RpcPort {
        /// Where QEMU listens for the harness.
        socket: String,
    },
    /// The distro's kernel has its drivers in modules, which somebody must load before the image can be mounted: the guest
    /// boots the harness's initramfs beside its image, which Kata never has.
    Initramfs {
        /// Its path.
        path: String,
    },
    /// The harness reads the kernel's log: a serial port on a socket, `console=ttyS0`, and no `quiet`.
    /// A socket, not a file: its reader can cut a flood short.
    SerialLog {
        /// Where QEMU listens for the harness.
        socket: String,
        /// Only warnings and worse (`loglevel=5`, which has oopses and panics whole): under nested virtualization every
        /// byte is an exit through two hypervisors; the first 9 of the kernel's usual 30 KB took 7 of the 23 s of a boot.
        terse: bool,
    },
    /// No mount namespaces for virtiofsd: its sandbox is a chroot.
    DaemonSandbox,
    /// No open_by_handle_at(2) for virtiofsd: where its default is to prefer file handles, as from 1.14 on, it falls back
    /// to descriptors that stay open. Changes no argument; a daemon written in C has no handles to prefer.
    DaemonHandles,
    /// virtiofsd passes extended attributes on, which Kata leaves off.
    DaemonXattr,
    /// virtiofsd passes POSIX ACLs on (and so extended attributes), which Kata leaves off.
    DaemonAcl,
    /// A slow machine: Kata's own time-outs do not hold. Changes no argument.
    BigTimeout {
        /// How long the harness waits instead, in seconds.
        seconds: u64,
    },
}

/// The name of the harness's port in the guest: `/sys/class/virtio-ports/*/name`.
pub const RPC_PORT: &str = "org.kata-qualify.rpc";

/// Whose arguments a deviation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// QEMU's.
    Qemu,
    /// virtiofsd's.
    Daemon,
    /// Nobody's.
    Harness,
}

impl Deviation {
    /// What it means, in one sentence.
    pub fn meaning(&self) -> &'static str {
        match self {
            Deviation::Accelerator => "the guest's processor is emulated (accel=tcg), KVM is not exercised",
            Deviation::CpuModel => "the guest's processor is QEMU's max model, not the host's",
            Deviation::Foreground => "QEMU stays in the foreground and is handed its QMP socket",
            Deviation::NoVsock => "the guest has no vhost-vsock device",
            Deviation::NoNetwork => "the guest has no network interface",
            Deviation::SocketNetwork { .. } => {
                "the other end of the guest's network interface is a socket of the harness's, not a tap with vhost"
            }
            Deviation::RpcPort { .. } => "the guest has one more virtio-serial port, for the harness",
            Deviation::Initramfs { .. } => {
                "the guest boots the harness's initramfs beside its image, for its drivers are modules"
            }
            Deviation::SerialLog { terse: false, .. } => "the guest has a serial port, and its kernel logs to it",
            Deviation::SerialLog { terse: true, .. } => {
                "the guest has a serial port, and its kernel logs warnings to it"
            }
            Deviation::DaemonSandbox => "virtiofsd confines itself by chroot, not by namespaces",
            Deviation::DaemonHandles => "virtiofsd may open nothing by a file handle and keeps descriptors instead",
            Deviation::DaemonXattr => "virtiofsd passes extended attributes on",
            Deviation::DaemonAcl => "virtiofsd passes POSIX ACLs and extended attributes on",
            Deviation::BigTimeout { .. } => "the guest gets more time than Kata would give it",
        }
    }

    /// The capabilities, by their dotted names, that cannot be tested with it.
    pub fn untested(&self) -> &'static [&'static str] {
        match self {
            Deviation::NoVsock => &["vmm.vsock"],
            Deviation::NoNetwork | Deviation::SocketNetwork { .. } => &["vmm.net"],
            Deviation::Accelerator
            | Deviation::CpuModel
            | Deviation::Foreground
            | Deviation::RpcPort { .. }
            | Deviation::Initramfs { .. }
            | Deviation::SerialLog { .. }
            | Deviation::DaemonSandbox
            | Deviation::DaemonHandles
            | Deviation::DaemonXattr
            | Deviation::DaemonAcl
            | Deviation::BigTimeout { .. } => &[],
        }
    }

    /// Whether what is shown with it rests on emulation.
    pub fn is_emulation(&self) -> bool {
        matches!(self, Deviation::Accelerator)
    }

    /// Whose arguments it changes.
    pub fn target(&self) -> Target {
        match self {
            Deviation::DaemonSandbox | Deviation::DaemonHandles | Deviation::DaemonXattr | Deviation::DaemonAcl => {
                Target::Daemon
            }
            Deviation::BigTimeout { .. } => Target::Harness,
            _ => Target::Qemu,
        }
    }
}

/// A deviation that was applied: what was taken out and what was put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Applied {
    /// Which.
    pub deviation: Deviation,
    /// Kata's arguments that are gone.
    pub removed: Vec<String>,
    /// Arguments that Kata does not pass.
    pub added: Vec<String>,
}

/// A deviation that cannot be applied: Kata's arguments are not what it expects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("applying {deviation:?} to {program}: its arguments have no {expected}")]
pub struct Inapplicable {
    /// Which.
    pub deviation: Deviation,
    /// To which program.
    pub program: String,
    /// What was looked for.
    pub expected: &'static str,
}

/// Applies those deviations of the list that change QEMU's arguments, in the order of the list, and records them.
/// [`Deviation::BigTimeout`] is recorded, too.
///
/// # Errors
/// When an argument that one of them changes is not there, or it has been applied before. Those before it stay applied.
pub fn apply(launch: &mut Launch, deviations: &[Deviation]) -> Result<(), Inapplicable> {
    deviations
        .iter()
        .filter(|deviation| deviation.target() != Target::Daemon)
        .try_for_each(|deviation| record(launch, deviation, |args, form, qmp| change_qemu(deviation, args, form, qmp)))
}

/// Applies those deviations of the list that change virtiofsd's arguments, in the order of the list, and records them.
///
/// # Errors
/// When one of them has been applied before.
pub fn apply_to_daemon(launch: &mut Launch, deviations: &[Deviation]) -> Result<(), Inapplicable> {
    deviations
        .iter()
        .filter(|deviation| deviation.target() == Target::Daemon)
        .try_for_each(|deviation| record(launch, deviation, |args, _, _| change_daemon(deviation, args)))
}

type Change = Result<(), &'static str>;

fn record(
    launch: &mut Launch,
    deviation: &Deviation,
    change: impl Fn(&mut Vec<Arg>, Form, i32) -> Change,
) -> Result<(), Inapplicable> {
    let inapplicable =
        |expected| Inapplicable { deviation: deviation.clone(), program: launch.program.clone(), expected };
    let kind = std::mem::discriminant(deviation);
    if launch.deviations.iter().any(|applied| std::mem::discriminant(&applied.deviation) == kind) {
        return Err(inapplicable("argument of Kata's left for it (it has been applied already)"));
    }
    let before = launch.args.clone();
    let mut edited = launch.clone();
    if *deviation == Deviation::Foreground {
        let next = edited.fds.iter().map(|fd| fd.number + 1).max().unwrap_or(FIRST_FD);
        edited.fds.push(InheritedFd { number: next, purpose: FdPurpose::Qmp });
    }
    let qmp = edited.fd(FdPurpose::Qmp).unwrap_or_default();
    edited.edit(|args, form| change(args, form, qmp)).map_err(inapplicable)?;
    *launch = edited;
    let only_in = |these: &[Arg], those: &[Arg]| -> Vec<String> {
        these
            .iter()
            .filter(|arg| !those.contains(arg))
            .map(|arg| std::iter::once(arg.flag.as_str()).chain(arg.value.as_deref()).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let (removed, added) = (only_in(&before, &launch.args), only_in(&launch.args, &before));
    launch.deviations.push(Applied { deviation: deviation.clone(), removed, added });
    // A descriptor that no argument names any more need not be opened.
    let named: String = launch.args.iter().filter_map(|arg| arg.value.as_deref()).collect::<Vec<_>>().join(" ");
    match deviation {
        Deviation::NoVsock | Deviation::NoNetwork | Deviation::SocketNetwork { .. } => {
            launch.fds.retain(|fd| names_fd(&named, fd.number))
        }
        _ => {}
    }
    Ok(())
}

/// Whether an argument refers to the descriptor: `vhostfd=4`, `fds=5:6`, `unix:fd=3`.
fn names_fd(text: &str, number: i32) -> bool {
    let number = number.to_string();
    text.split([',', ' '])
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| matches!(*key, "vhostfd" | "vhostfds" | "fds" | "fd" | "unix:fd"))
        .any(|(_, value)| value.split(':').any(|n| n == number))
}

/// `qmp` is the descriptor of the socket that QEMU serves QMP on.
fn change_qemu(deviation: &Deviation, args: &mut Vec<Arg>, form: Form, qmp: i32) -> Change {
    match deviation {
        Deviation::Accelerator => replace(args, "-machine", "accel=kvm", "accel=tcg", "-machine …,accel=kvm"),
        Deviation::CpuModel => replace(args, "-cpu", "host", "max", "-cpu host"),
        Deviation::Foreground => {
            let daemonize = args.iter().position(|arg| arg.flag == "-daemonize").ok_or("-daemonize")?;
            args.remove(daemonize);
            let qmp = form.pick(&qmp.to_string(), "qmp-fd");
            let arg = args.iter_mut().find(|arg| arg.flag == "-qmp").ok_or("-qmp")?;
            arg.value = Some(format!("unix:fd={qmp},server=on,wait=off"));
            Ok(())
        }
        Deviation::NoVsock => remove(args, "-device", "vhost-vsock-pci", "-device vhost-vsock-pci"),
        Deviation::NoNetwork => {
            remove(args, "-netdev", "tap", "-netdev tap")?;
            // The Go runtime writes the driver as an option.
            let driver = if args.iter().any(|a| a.is("-device", "driver=virtio-net-pci")) { "driver=" } else { "" };
            remove(args, "-device", &format!("{driver}virtio-net-pci"), "-device virtio-net-pci")
        }
        Deviation::SocketNetwork { address } => {
            let netdev = args.iter_mut().find(|a| a.is("-netdev", "tap")).and_then(|a| a.value.as_mut());
            let netdev = netdev.ok_or("-netdev tap")?;
            let id = netdev.split(',').find(|option| option.starts_with("id=")).ok_or("-netdev tap,id=…")?.to_owned();
            *netdev = format!("socket,{id},connect={}", form.pick(address, "peer"));
            Ok(())
        }
        Deviation::RpcPort { socket } => {
            let serial = args.iter().any(|a| a.is("-device", "virtio-serial-pci") && has(a, "id=serial0"));
            serial.then_some(()).ok_or("-device virtio-serial-pci,id=serial0")?;
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
        Deviation::SerialLog { socket, terse } => {
            let append = args.iter_mut().find(|a| a.flag == "-append").and_then(|a| a.value.as_mut());
            let params = append.ok_or("-append")?;
            let level = terse.then_some("loglevel=5");
            let loud = params.split(' ').filter(|param| *param != "quiet").chain(level).chain(["console=ttyS0"]);
            *params = loud.collect::<Vec<_>>().join(" ");
            let socket = form.pick(socket, "serial-log");
            args.push(Arg::new("-chardev", format!("socket,id=charserial0,path={socket},server=on,wait=off")));
            args.push(Arg::new("-device", "isa-serial,chardev=charserial0,id=serial-log0"));
            Ok(())
        }
        Deviation::BigTimeout { .. } => Ok(()),
        Deviation::DaemonSandbox | Deviation::DaemonHandles | Deviation::DaemonXattr | Deviation::DaemonAcl => {
            Err("arguments of virtiofsd")
        }
    }
}

fn change_daemon(deviation: &Deviation, args: &mut Vec<Arg>) -> Change {
    let dash_o =
        args.iter().any(|arg| arg.flag == "-o" && arg.value.as_deref().is_some_and(|v| v.starts_with("source=")));
    let long = args.iter().any(|arg| arg.flag.starts_with("--shared-dir"));
    if !dash_o && !long {
        return Err("shared directory");
    }
    let mut option = |name: &str| {
        let arg = if dash_o { Arg::new("-o", name) } else { Arg::flag(format!("--{}", name.replace('_', "-"))) };
        if !args.contains(&arg) {
            args.push(arg);
        }
    };
    match deviation {
        Deviation::DaemonSandbox => option("sandbox=chroot"),
        Deviation::DaemonHandles => {}
        Deviation::DaemonXattr => option("xattr"),
        Deviation::DaemonAcl => {
            option("xattr");
            option("posix_acl");
        }
        _ => return Err("arguments of QEMU"),
    }
    Ok(())
}

/// Replaces one option in the value of one flag.
fn replace(args: &mut [Arg], flag: &str, old: &str, new: &str, expected: &'static str) -> Change {
    let arg = args.iter_mut().find(|arg| arg.flag == flag && has(arg, old)).ok_or(expected)?;
    let options = arg.value.iter().flat_map(|value| value.split(','));
    arg.value = Some(options.map(|option| if option == old { new } else { option }).collect::<Vec<_>>().join(","));
    Ok(())
}

/// Removes the one argument with this flag and first word.
fn remove(args: &mut Vec<Arg>, flag: &str, word: &str, expected: &'static str) -> Change {
    let at = args.iter().position(|arg| arg.is(flag, word)).ok_or(expected)?;
    args.remove(at);
    Ok(())
}

fn has(arg: &Arg, option: &str) -> bool {
    arg.value.as_deref().is_some_and(|value| value.split(',').any(|o| o == option))
}

#[cfg(test)]
mod tests;
