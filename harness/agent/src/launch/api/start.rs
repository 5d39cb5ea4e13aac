//! Turns a plan into a running guest.

use super::{ApiGuest, api_of, configuration_of, logs_in, vsock_of};
use crate::launch::compose;
use crate::launch::daemon::DaemonProcess;
use crate::launch::deadlines::Deadlines;
use crate::launch::growth::{self, Growth};
use crate::launch::paths::GuestPaths;
use crate::launch::provided::Provided;
use crate::launch::running::NotStarted;
use crate::log::Log;
use crate::process::{spawn_printing, stderr_log};
use crate::system;
use model::foreign::linux::panic_line;
use model::profile::{ModuleUse, Profile, Runtime};
use protocol::client::{Client, ClientError};
use protocol::message::Launched;
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::check::Stop;
use suites::environment::{Claims, ElfKernel};
use suites::outcome::Component;
use suites::share::Share;
use vmms::cloud_hypervisor;
use vmms::guest::{Guest, LINE_PORT, LaunchPlan};
use vmms::http::{HttpError, Request};
use vmms::hybrid_vsock;
use vmms::vmm::{Kind, plan, waiting};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl ApiGuest {
    /// Starts a guest, waits for its agent and mounts its share.
    pub(crate) fn start(
        vmm: Component,
        profile: &Profile,
        share: Option<Share>,
        provided: Provided,
        claims: &Claims,
        paths: GuestPaths,
    ) -> Result<ApiGuest, Box<NotStarted>> {
        let kind = Kind::of(vmm).ok_or_else(|| Stop::error(format!("{vmm} is no VMM that is driven by an API")))?;
        let deadlines = Deadlines::of(provided.nested);
        let guest = guest(kind, vmm, profile, share, provided, claims, &paths)?;
        let plan = plan(kind, profile, &guest);
        // Its arguments are those for QEMU's guest with the same share.
        let composed = match share {
            Some(share) => Some(compose::compose(profile, configuration_of(share), provided, claims, &paths)?),
            None => None,
        };
        let mut deviations: Vec<String> =
            plan.deviations.iter().map(|deviation| deviation.meaning().to_owned()).collect();
        deviations.extend(composed.iter().flat_map(|composed| composed.deviations_of_the_daemon()));
        let daemon = composed.as_ref().map(|composed| composed.daemon.clone()).unwrap_or_default();
        let launched = Launched { argv: plan.argv.clone(), daemon, deviations };
        let folder = paths.dir.clone();
        let not_started = |stop, logs| Box::new(NotStarted { stop, launched: Some(launched.clone()), logs });
        let written =
            keep(&plan, &folder).and_then(|()| guest.waiting.iter().try_for_each(|file| File::create(file).map(drop)));
        written
            .map_err(|e| not_started(Stop::error(format!("writing the plan of a guest's launch: {e}")), Vec::new()))?;
        let mut daemon = None;
        if let Some(composed) = &composed {
            let mut started =
                DaemonProcess::start(composed, &paths, deadlines).map_err(|stop| not_started(stop, logs_in(&paths)))?;
            if let Some(ending) = started.ending(Duration::from_millis(50)) {
                return Err(not_started(ending.stop("starting virtiofsd"), logs_in(&paths)));
            }
            daemon = Some(started);
        }
        let mut process = spawn_printing(&plan.argv).map_err(|e| {
            let observed = format!("{} does not start: {e}", guest.program);
            // A candidate may lack libraries here that it was built against.
            let stop = match claims.candidates.contains_key(&vmm) {
                true => Stop::error(observed),
                false => Stop::blame(vmm, observed),
            };
            not_started(stop, logs_in(&paths))
        })?;
        let words = stderr_log(&mut process, &folder.join("vmm.log"));
        let stdout = process.stdout.take().ok_or_else(|| io::Error::other("no pipe for standard output"));
        let serial = stdout.and_then(|stdout| Log::collect(stdout, &folder.join("serial.log")));
        let (words, serial) = match (words, serial) {
            (Ok(words), Ok(serial)) => (words, serial),
            (words, serial) => {
                crate::process::kill_group(&mut process);
                let e = words.err().or(serial.err()).map(|e| e.to_string()).unwrap_or_default();
                return Err(not_started(Stop::error(format!("logging {vmm}: {e}")), Vec::new()));
            }
        };
        let mut running = ApiGuest {
            kind,
            vmm,
            profile: profile.clone(),
            launched: launched.clone(),
            paths,
            share,
            process,
            ended: None,
            daemon,
            serial,
            words,
            agent: None,
            deadlines,
            provided,
            max_vcpus: guest.max_vcpus,
            kernel: claims.kernel.clone(),
            modules: claims.modules.clone(),
            boot_time: Duration::ZERO,
        };
        let up = running.tell(&plan).and_then(|()| running.reach()).and_then(|()| running.mount());
        up.map_err(|stop| not_started(stop, running.artifacts()))?;
        Ok(running)
    }

    /// Waits for the API and sends the planned requests, each as soon as the previous one is done.
    fn tell(&mut self, plan: &LaunchPlan) -> Result<(), Stop> {
        let (api, vmm) = (self.api(), self.vmm);
        let end = Instant::now() + self.deadlines.start;
        loop {
            let error = match plan.ready.send(&api, self.deadlines.qmp) {
                // A VMM that refuses the request is running.
                Ok(_) | Err(HttpError::Refused { .. }) => break,
                Err(e) => e,
            };
            if self.has_ended() || Instant::now() > end {
                return Err(self.why("waiting for the VMM's API", &error.to_string(), vmm));
            }
            std::thread::sleep(PAUSE);
        }
        for request in &plan.requests {
            self.ask_the_vmm(request, "telling the VMM what to run")?;
            if let Some(state) = request.then {
                let answer = self.ask_the_vmm(&cloud_hypervisor::info(), "asking the VMM for its state")?;
                let reply: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
                if reply["state"] != state {
                    let observed =
                        format!("after {} its state is {}, expected {state:?}", request.name(), reply["state"]);
                    return Err(self.why("telling the VMM what to run", &observed, vmm));
                }
            }
        }
        Ok(())
    }

    /// Sends a request to the VMM; a refusal blames it, with its own message.
    pub(super) fn ask_the_vmm(&mut self, request: &Request, doing: &str) -> Result<String, Stop> {
        let (api, vmm) = (self.api(), self.vmm);
        match request.send(&api, self.deadlines.qmp) {
            Ok(answer) => Ok(answer.body),
            Err(e) => Err(self.why(doing, &e.to_string(), vmm)),
        }
    }

    /// Connects to the guest's agent by vsock until it answers.
    fn reach(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        let mut growth = Growth::of(self.serial.total(), began);
        let stream = self.dial_until(LINE_PORT, began + self.deadlines.boot, &mut growth)?;
        let agent = Client::new(stream).map_err(|e| Stop::error(format!("listening to the guest's agent: {e}")))?;
        let serial = self.serial.clone();
        // The agent sends a hello right after it accepts the connection, however late.
        let hello = agent.wait_for_hello(self.deadlines.answer, || {
            growth.look(serial.total(), Instant::now());
            panic_line(&serial.text()).is_none()
        });
        self.agent = Some(agent);
        self.boot_time = began.elapsed();
        hello.map_err(|e| match e {
            ClientError::Late(_) => self.late(&growth, &e.to_string()),
            e => self.lost("booting the guest to userspace", &e),
        })
    }

    fn dial_until(&mut self, port: u32, end: Instant, growth: &mut Growth) -> Result<UnixStream, Stop> {
        let (socket, runtime, serial) = (self.vsock(), self.profile.runtime, self.serial.clone());
        loop {
            // While the guest boots, the VMM keeps the connection waiting, or closes it.
            let dialled = hybrid_vsock::dial(&socket, runtime, port, || {
                growth.look(serial.total(), Instant::now());
                !self.has_ended() && panic_line(&serial.text()).is_none() && Instant::now() <= end
            });
            let error = match dialled {
                Ok(stream) => return Ok(stream),
                Err(e) => e,
            };
            growth.look(serial.total(), Instant::now());
            if self.has_ended() || panic_line(&self.serial.text()).is_some() {
                return Err(self.why("booting the guest to userspace", &error.to_string(), Component::Kernel));
            }
            if Instant::now() > end {
                return Err(self.late(growth, &error.to_string()));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// An emulated guest that still produces output boots slowly, and does not hang.
    fn late(&mut self, growth: &Growth, observed: &str) -> Stop {
        let since_output = growth.since(Instant::now());
        if self.provided.nested && since_output < self.deadlines.silence && !self.has_ended() {
            return Stop::error(growth::slow(self.deadlines.boot, since_output, &self.serial.last_lines(3)));
        }
        let vmm = self.vmm;
        self.why("reaching the guest's agent by vsock", observed, vmm)
    }
}

/// Returns the configuration of a guest.
fn guest(
    kind: Kind,
    vmm: Component,
    profile: &Profile,
    share: Option<Share>,
    provided: Provided,
    claims: &Claims,
    paths: &GuestPaths,
) -> Result<Guest, Stop> {
    let program = claims.other_vmm(vmm).ok_or_else(|| Stop::error(format!("there is no {vmm}")))?.to_string();
    let vmlinux = match &claims.elf_kernel {
        Some(ElfKernel::Made { path, .. }) => path.clone(),
        Some(ElfKernel::Absent | ElfKernel::Refused { .. }) | None => {
            return Err(Stop::error("there is no kernel as an ELF file"));
        }
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let socket_path = |name: &str| text(&paths.sockets.join(name));
    let memory_mib = u64::from(profile.qemu.memory_mib);
    Ok(Guest {
        program,
        vcpus: profile.qemu.vcpus,
        max_vcpus: system::cpus().max(profile.qemu.vcpus),
        memory_mib,
        host_memory_mib: system::memory_mib().max(memory_mib),
        vmlinux,
        initramfs: claims.initramfs.clone(),
        modules: modules(kind, claims),
        terse: provided.terse,
        api: text(&api_of(paths)),
        config: text(&paths.dir.join("machine.json")),
        vsock: text(&vsock_of(paths)),
        share: share.map(|_| text(&paths.virtiofsd)),
        waiting: waiting_files(kind, profile.runtime, socket_path),
    })
}

fn waiting_files(kind: Kind, runtime: Runtime, socket_path: impl Fn(&str) -> String) -> Vec<String> {
    (0..waiting(kind, runtime)).map(|number| socket_path(&format!("waiting{number}"))).collect()
}

/// Returns the modules that the guest's agent loads before it can be reached: the bus of the devices, and vsock.
fn modules(kind: Kind, claims: &Claims) -> Vec<String> {
    let uses: &[ModuleUse] = match kind {
        Kind::CloudHypervisor => &[ModuleUse::Vsock],
        Kind::Firecracker => &[ModuleUse::VirtioMmio, ModuleUse::Vsock],
    };
    uses.iter().filter_map(|used_for| claims.modules.get(used_for)).flat_map(|set| set.load.clone()).collect()
}

/// Keeps the VMM's requests as evidence; under the Go runtime Firecracker reads its machine from this file.
fn keep(plan: &LaunchPlan, folder: &Path) -> io::Result<()> {
    match &plan.file {
        Some((path, machine)) => fs::write(path, machine.to_string()),
        None => {
            let requests = plan.requests.iter().map(|request| {
                let body = request.body.as_ref().map(|body| format!(" {body}")).unwrap_or_default();
                format!("{}{body}\n", request.name())
            });
            fs::write(folder.join("machine.json"), requests.collect::<String>())
        }
    }
}
