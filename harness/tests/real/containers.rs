//! Container tests under a real containerd and runc, and under broken ones; those that give wrong results are in
//! `faults.rs`.
//!
//! The tests need root, containerd with `ctr`, and runc; without one of them they are ignored.

use crate::bench::Bench;
use agent::containers::host;
use model::kata_version::KataVersion;
use model::profile::{self, Profile};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::capability::Capability;
use suites::catalogue::{self, Place};
use suites::check::{Check, Stop};
use suites::containers::Kata;
use suites::outcome::Component;

fn failure(check: Check) -> (String, Option<Component>) {
    match check {
        Err(Stop::Fail { message, blames, .. }) => (message, blames),
        other => panic!("expected a failure, got {other:?}"),
    }
}

/// Capabilities whose tests need more of a machine than root, containerd and runc: CNI plugins, Docker, disks, huge
/// pages.
const MORE_IS_NEEDED_FOR: [Capability; 7] = [
    Capability::ContainersCri,
    Capability::ContainersBlock,
    Capability::ContainersHugePages,
    Capability::ContainersDevmapper,
    Capability::ContainersBlockfile,
    Capability::ContainersErofs,
    Capability::ContainersDocker,
];
/// The other test that may skip: without an `ip` command.
const MAY_SKIP: [&str; 1] = ["containers::runc::a_ready_made_network_carries_both_ways"];

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn every_runc_test_passes_and_nothing_is_left_behind() {
    for id in MAY_SKIP {
        assert!(catalogue::find(id).is_some_and(|test| test.place == Place::Runc), "{id}");
    }
    let bench = Bench::new();
    let mut wrong = Vec::new();
    for test in catalogue::tests().iter().filter(|t| t.place == Place::Runc) {
        let began = std::time::Instant::now();
        let result = bench.run_test(test);
        eprintln!("{:>6} ms  {}  {result:?}", began.elapsed().as_millis(), test.id);
        match result {
            Ok(()) => {}
            Err(Stop::Skip { reason })
                if MAY_SKIP.contains(&test.id.as_str())
                    || test.proves.iter().all(|proved| MORE_IS_NEEDED_FOR.contains(proved)) =>
            {
                eprintln!("        {} skips: {reason}", test.id);
            }
            Err(stop) => wrong.push(format!("{}: {stop:?}", test.id)),
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), bench.containerd_log());
    bench.engine.stop();
    let prefix = format!("kq{}x", std::process::id());
    let remaining: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|cmdline| cmdline.contains(&prefix) && cmdline.contains("containerd"))
        .collect();
    // Tests run in parallel, so only entries with this bench's directory count.
    let folder = bench.folder.path().to_string_lossy().into_owned();
    assert!(remaining.iter().all(|cmdline| !cmdline.contains(&folder)), "{remaining:?}");
    assert!(fs::read_to_string("/proc/self/mountinfo").unwrap().lines().all(|line| !line.contains(&folder)));
    assert_eq!(fs::read_dir(&bench.settings.disk).unwrap().count(), 0, "containerd's folder has been removed");
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_runtime_that_leaves_a_process_behind_fails_the_test() {
    // A process with the container's name in its arguments, like a virtiofsd that does not end.
    let script = "setsid tail -f /dev/null \"$BUNDLE/config.json\" >/dev/null 2>&1 </dev/null &";
    let bench = Bench::with_runc_script(script);
    let (message, _) = failure(bench.run("containers::runc::nothing_stays_behind"));
    assert!(message.contains("process "), "{message}");
    let prefix = format!("kq{}x", std::process::id());
    bench.engine.stop();
    // Other tests run in parallel, so only processes that the script starts count.
    let mut remaining = host::processes("config.json");
    remaining.retain(|process| process.program.ends_with("/tail") && process.argv.join(" ").contains(&prefix));
    assert_eq!(remaining, []);
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_dead_containerd_is_reported_and_replaced_for_the_next_test() {
    let bench = Bench::new();
    let exit_codes = "containers::runc::exit_codes_are_told";
    assert_eq!(bench.run(exit_codes), Ok(()));
    for (signal, blamed) in [(Signal::ABORT, true), (Signal::KILL, false)] {
        let pid = i32::try_from(bench.engine.containerd().unwrap()).unwrap();
        let killed = std::thread::scope(|scope| {
            let test = scope.spawn(|| bench.run("containers::runc::nothing_stays_behind"));
            std::thread::sleep(std::time::Duration::from_millis(400));
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
            test.join().unwrap()
        });
        match killed {
            Err(Stop::Fail { message, blames, .. }) => {
                assert!(blamed && blames == Some(Component::Containerd), "{signal:?}: {message}, {blames:?}");
                assert!(message.contains("containerd ended"), "{message}");
            }
            Err(Stop::Error { message }) => assert!(!blamed && message.contains("containerd ended"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.run(exit_codes), Ok(()), "after {signal:?}");
    }
}

/// This containerd stops answering at once after SIGTERM and ends a second later; its client notices only the former.
#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_containerd_that_is_shutting_down_is_an_error_and_blames_nobody() {
    let mut bench = Bench::new();
    bench.settings.containerd = bench.folder.path().join("containerd");
    let containerd = r#"#!/bin/sh
serves=$(dirname "$0")/serves
trap 'rm "$serves"; sleep 1; exit 0' TERM
echo $$ >"$serves"
while :; do sleep 0.05; done
"#;
    let ctr = r#"#!/bin/sh
serves=$(dirname "$0")/serves
case " $* " in
*" version "*) test -s "$serves" ;;
*" run "*)
    kill -TERM "$(cat "$serves")"
    while test -e "$serves"; do sleep 0.01; done
    echo 'ctr: error reading from server: EOF: unavailable' >&2
    exit 1
    ;;
esac
"#;
    for (name, script) in [("containerd", containerd), ("ctr", ctr)] {
        let path = bench.folder.path().join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The second test would use the first one's containerd if that had not been given up.
    for _ in 0..2 {
        match bench.run("containers::runc::exit_codes_are_told") {
            Err(Stop::Error { message }) => assert!(message.contains("containerd ended (exit code 0)"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.engine.containerd(), None);
    }
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_missing_containerd_is_a_skip_and_a_broken_one_is_blamed() {
    let mut bench = Bench::new();
    bench.settings.containerd = bench.folder.path().join("containerd");
    match bench.run("containers::runc::exit_codes_are_told") {
        Err(Stop::Skip { reason }) => assert!(reason.contains("install the distro's package"), "{reason}"),
        other => panic!("{other:?}"),
    }
    fs::write(&bench.settings.containerd, "#!/bin/sh\necho broken library >&2\nexit 127\n").unwrap();
    fs::set_permissions(&bench.settings.containerd, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy("/usr/bin/ctr", bench.folder.path().join("ctr")).unwrap();
    let (message, blames) = failure(bench.run("containers::runc::exit_codes_are_told"));
    assert!(message.contains("exit code 127") && message.contains("broken library"), "{message}");
    assert_eq!(blames, Some(Component::Containerd));
}

fn fake_kata(profile: &str) -> Kata {
    Kata {
        version: KataVersion::new(3, 30, 0),
        kind: profile::Runtime::Go,
        profile: profile.parse().unwrap(),
        shim: "/nonexistent/containerd-shim-kata-v2".to_owned(),
        shipped: None,
        configuration: "/nonexistent/configuration.toml".to_owned(),
        initrd: "/nonexistent/initrd".to_owned(),
        agent: Some("/nonexistent/kata-agent".to_owned()),
        checker: None,
        own: None,
        own_image: None,
        emulated: false,
    }
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn kata_tests_skip_without_artifacts_and_error_if_runc_fails_too() {
    let kata_test = "containers::kata::environment_variables_arrive";
    let mut bench =
        Bench::with_runc_script(r#"sed -i -E 's/"env":\[[^]]*\]/"env":["PATH=\/"]/' "$BUNDLE/config.json""#);
    match bench.run(kata_test) {
        Err(Stop::Skip { reason }) => assert!(reason.contains("--kata"), "{reason}"),
        other => panic!("{other:?}"),
    }
    bench.claims.kata = vec![fake_kata("rs-4.0")];
    match bench.run(kata_test) {
        Err(Stop::Skip { reason }) => assert!(reason.contains("rs-4.0"), "{reason}"),
        other => panic!("{other:?}"),
    }
    bench.claims.kata = vec![fake_kata("go-3.29")];
    match bench.run(kata_test) {
        Err(Stop::Error { message }) => assert!(message.contains("under runc"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_missing_kata_shim_fails_with_the_message_of_ctr() {
    let mut bench = Bench::new();
    bench.claims.kata = vec![fake_kata("go-3.29")];
    let (message, _) = failure(bench.run("containers::kata::the_working_directory_is_the_one_asked_for"));
    assert!(message.contains("ctr: "), "{message}");
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn a_hanging_kata_shim_is_ended_at_its_deadline() {
    let mut bench = Bench::new();
    let shim = bench.folder.path().join("shim");
    // A shim whose `start` never answers, like Kata's after its virtiofsd has exited.
    fs::write(&shim, "#!/bin/sh\nfor a; do [ \"$a\" = start ] && exec sleep 1000; done\n").unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    bench.settings.kata_shims = BTreeMap::from([("containerd-shim-kata-v2".to_owned(), shim)]);
    bench.settings.patience.kata = std::time::Duration::from_secs(4);
    bench.claims.kata = vec![fake_kata("go-3.29")];
    // Run the control first, so that its time does not count.
    let name = "the_working_directory_is_the_one_asked_for";
    assert_eq!(bench.run(&format!("containers::runc::{name}")), Ok(()));
    let began = std::time::Instant::now();
    let (message, blames) = failure(bench.run(&format!("containers::kata::{name}")));
    assert!(message.contains("no answer from the sandbox within 4 s"), "{message}");
    assert_eq!(blames, None, "nobody has seen whose fault it is");
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    assert_eq!(bench.run(&format!("containers::runc::{name}")), Ok(()), "containerd serves on");
    bench.engine.stop();
    let folder = bench.folder.path().to_string_lossy().into_owned();
    assert_eq!(host::processes(&folder), [], "nothing of it runs on");
}

#[test]
#[cfg_attr(lacks = "runc", ignore = "needs root, containerd and runc")]
fn leftovers_of_a_killed_agent_are_removed_by_the_next_one() {
    let bench = Bench::new();
    // No process has this id, which is above the kernel's maximum.
    let name = "kq4194305x0";
    let run = Path::new("/run/kata-qualify/containers").join(name);
    let disk = bench.folder.path().join("left").join(name);
    fs::create_dir_all(&run).unwrap();
    fs::create_dir_all(disk.join("root")).unwrap();
    let owner = format!(r#"{{"pid":4194305,"started":1,"name":"{name}","disk":{disk:?}}}"#);
    fs::write(run.join("owner"), owner).unwrap();
    let bridge = format!("{name}a");
    let status = Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]).status().unwrap();
    assert!(status.success());
    let id = format!("{name}r-1");
    let mut stray = Command::new("sleep").arg0(&id).arg("600").spawn().unwrap();
    let reaper = std::thread::spawn(move || stray.wait());
    assert_eq!(bench.run("containers::runc::exit_codes_are_told"), Ok(()));
    reaper.join().unwrap().unwrap();
    assert_eq!(host::processes(&id), []);
    assert!(!run.exists() && !disk.exists());
    assert!(!Path::new("/sys/class/net").join(&bridge).exists(), "{bridge}");
}

/// Tests with a real Kata. The environment names its files and versions: `KATA_QUALIFY_KATA_SHIM`,
/// `…_CONFIGURATION`, `…_INITRD`, `…_VERSION`, `…_KERNEL` (the guest's release).
#[test]
#[ignore = "by hand: KATA_QUALIFY_KATA_SHIM names a shim of Kata"]
fn every_kata_test_passes_under_a_real_kata() {
    let variable = |name: &str| std::env::var(format!("KATA_QUALIFY_KATA_{name}")).ok();
    let shim = variable("SHIM").expect("KATA_QUALIFY_KATA_SHIM names a shim");
    let version = variable("VERSION").map_or(KataVersion::new(3, 30, 0), |version| version.parse().unwrap());
    let rust = version.major == 4 && variable("GO").is_none();
    let mut bench = Bench::new();
    let name = if rust { "rs-4.0" } else { "go-3.29" };
    bench.profile = Profile::find(name).unwrap().clone();
    if let Some(kernel) = variable("KERNEL") {
        bench.claims.kernel = kernel.parse().unwrap();
    }
    let kata = Kata {
        version,
        kind: if rust { profile::Runtime::Rs } else { profile::Runtime::Go },
        profile: name.parse().unwrap(),
        shim,
        shipped: None,
        configuration: variable("CONFIGURATION").unwrap_or_default(),
        initrd: variable("INITRD").unwrap_or_default(),
        agent: variable("AGENT"),
        checker: variable("CHECKER"),
        own: None,
        own_image: None,
        emulated: false,
    };
    bench.settings.kata_shims = BTreeMap::from([(kata.shim_name().to_owned(), PathBuf::from(&kata.shim))]);
    bench.claims.kata = vec![kata];
    let only = variable("ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    for test in catalogue::tests().iter().filter(|t| t.place == Place::Kata && t.name.contains(&only)) {
        let began = std::time::Instant::now();
        let result = bench.run_test(test);
        eprintln!("{:>6} ms  {}  {result:?}", began.elapsed().as_millis(), test.id);
        if result.is_err() {
            wrong.push(test.name);
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), bench.containerd_log());
}
