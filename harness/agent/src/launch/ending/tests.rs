use super::*;
use suites::check::Stop;
use suites::outcome::Component;

fn ended(end: ProcessEnd) -> ProcessState {
    ProcessState::Ended { end, words: "last words".to_owned() }
}

const SEGV: ProcessEnd = ProcessEnd::Signal(11);
const KILL: ProcessEnd = ProcessEnd::Signal(9);
const RUNS: ProcessState = ProcessState::Runs;

/// Returns the component that the row blames, if any.
fn blames(signs: &GuestSigns) -> Option<Component> {
    match judge(signs).map(|ending| ending.stop("x")) {
        Some(Stop::Fail { blames, .. }) => Some(blames.unwrap()),
        Some(Stop::Error { .. }) => None,
        other => panic!("{signs:?} is {other:?}"),
    }
}

/// Checks each combination of the states of QEMU and its daemon, with all other observations.
#[test]
fn each_pair_of_vmm_and_daemon_states_blames_its_component() {
    let qemu = Some(Component::Qemu);
    let daemon = Some(Component::Virtiofsd);
    let kernel = Some(Component::Kernel);
    let nobody = None;
    let gone_with_its_vmm = || Some(ended(ProcessEnd::Code(0)));
    let rows = [
        // A QEMU that crashes also ends the line and the daemon.
        (ended(SEGV), None, &qemu),
        (ended(SEGV), Some(RUNS), &qemu),
        (ended(SEGV), gone_with_its_vmm(), &qemu),
        (ended(SEGV), Some(ended(ProcessEnd::Code(1))), &qemu),
        (ended(SEGV), Some(ended(KILL)), &qemu),
        (ended(SEGV), Some(ended(ProcessEnd::Signal(6))), &nobody),
        (ended(ProcessEnd::Signal(31)), None, &qemu),
        (ended(KILL), None, &nobody),
        (ended(KILL), gone_with_its_vmm(), &nobody),
        (ended(KILL), Some(ended(SEGV)), &nobody),
        (ended(ProcessEnd::Signal(15)), Some(RUNS), &nobody),
        (ended(ProcessEnd::Code(1)), None, &qemu),
        (ended(ProcessEnd::Code(1)), Some(RUNS), &qemu),
        (ended(ProcessEnd::Code(1)), gone_with_its_vmm(), &qemu),
        (ended(ProcessEnd::Code(1)), Some(ended(ProcessEnd::Code(1))), &qemu),
        (ended(ProcessEnd::Code(1)), Some(ended(SEGV)), &daemon),
        (ended(ProcessEnd::Code(1)), Some(ended(KILL)), &nobody),
        (ended(ProcessEnd::Code(0)), None, &kernel),
        (ended(ProcessEnd::Code(0)), gone_with_its_vmm(), &kernel),
        (ended(ProcessEnd::Code(0)), Some(ended(SEGV)), &daemon),
        (ended(ProcessEnd::Code(0)), Some(ended(KILL)), &nobody),
        (ended(ProcessEnd::Code(0)), Some(ended(ProcessEnd::Code(101))), &daemon),
        (ended(ProcessEnd::Code(1)), Some(ended(ProcessEnd::Code(101))), &daemon),
        (RUNS, Some(ended(SEGV)), &daemon),
        (RUNS, Some(ended(ProcessEnd::Code(0))), &nobody),
        (RUNS, Some(ended(ProcessEnd::Code(1))), &daemon),
        (RUNS, Some(ended(KILL)), &nobody),
        (RUNS, Some(ProcessState::Stopped), &nobody),
        (ProcessState::Stopped, None, &nobody),
        (ProcessState::Stopped, Some(RUNS), &nobody),
        (ProcessState::Stopped, Some(ProcessState::Stopped), &nobody),
        (ProcessState::Stopped, Some(ended(SEGV)), &daemon),
        (ProcessState::Stopped, Some(ended(KILL)), &nobody),
    ];
    for (vmm, daemon, expected) in rows {
        let signs = GuestSigns { vmm, daemon, ..GuestSigns::default() };
        // Other observations change nothing for a dead pair: a line that ended, a silence, a QMP without an answer.
        for (line_ended, silent) in [(false, None), (true, None), (true, Some(30)), (false, Some(30))] {
            let signs = GuestSigns { line_ended, silent, qmp: Some(QmpAnswer::Nothing), ..signs.clone() };
            assert_eq!(&blames(&signs), expected, "{signs:?}");
        }
        // A panic has precedence over its effects, but it cannot cause a crash of QEMU.
        let signs = GuestSigns { panic: Some("Kernel panic - not syncing: x".to_owned()), ..signs };
        let crashed = matches!(signs.vmm, ProcessState::Ended { end: SEGV | ProcessEnd::Signal(31), .. });
        assert_eq!(&blames(&signs), if crashed { &nobody } else { &kernel }, "{signs:?}");
        // On a KVM that gave up, a guest may do anything.
        let signs = GuestSigns { gave_up: Some("KVM internal error. Suberror: 1".to_owned()), ..signs };
        assert_eq!(blames(&signs), nobody, "{signs:?}");
    }
}

#[test]
fn a_running_guest_is_judged_by_kernel_log_then_line_then_qmp() {
    let signs = GuestSigns { silent: Some(61), qmp: Some(QmpAnswer::Running), ..GuestSigns::default() };
    assert_eq!(judge(&signs), Some(Ending::Hung { silent: 61 }));
    let paused = GuestSigns { qmp: Some(QmpAnswer::Other("paused".to_owned())), ..signs.clone() };
    assert!(matches!(judge(&paused), Some(Ending::VmmStopped { state }) if state.contains("paused")));
    assert_eq!(judge(&GuestSigns { qmp: Some(QmpAnswer::Nothing), ..signs.clone() }), Some(Ending::VmmMute));
    assert_eq!(judge(&GuestSigns { line_ended: true, ..signs.clone() }), Some(Ending::LineClosed));
    let oops = Some("Oops: 0000".to_owned());
    assert!(matches!(
        judge(&GuestSigns { oops: oops.clone(), line_ended: true, ..signs }),
        Some(Ending::Oopsed { .. })
    ));
    assert_eq!(judge(&GuestSigns::default()), None, "a guest that is well");
    let with_daemon = GuestSigns { daemon: Some(RUNS), ..GuestSigns::default() };
    assert_eq!(judge(&with_daemon), None, "a guest that is well");
    // An oops explains a guest that then powers off, but not a crash of QEMU.
    let off = GuestSigns { oops: oops.clone(), vmm: ended(ProcessEnd::Code(0)), ..GuestSigns::default() };
    assert!(matches!(judge(&off), Some(Ending::Oopsed { .. })));
    assert_eq!(judge(&GuestSigns { oops, vmm: ended(SEGV), ..off }), Some(Ending::VmmKilled { signal: 11 }));
}

#[test]
fn a_wrapper_shells_exit_code_is_read_as_the_signal() {
    let ran = |script: &str| ProcessEnd::of(std::process::Command::new("sh").args(["-c", script]).status().unwrap());
    assert_eq!(ran("exit 0"), ProcessEnd::Code(0));
    assert_eq!(ran("exit 1"), ProcessEnd::Code(1));
    assert_eq!(ran("kill -SEGV $$"), SEGV);
    assert_eq!(ran("sh -c 'kill -SEGV $$' 2>/dev/null; exit $?"), SEGV);
    assert_eq!(ran("sh -c 'kill -KILL $$' 2>/dev/null; exit $?"), KILL);
    assert_eq!(ran("exit 255"), ProcessEnd::Code(255));
}

/// QEMU exits with 0 on SIGTERM, too.
#[test]
fn a_qemu_ended_by_sigterm_is_not_a_power_off() {
    use std::os::unix::process::ExitStatusExt as _;
    let (zero, one) = (std::process::ExitStatus::from_raw(0), std::process::ExitStatus::from_raw(1 << 8));
    let stderr = "qemu-system-x86_64: warning: x\nqemu-system-x86_64: terminating on signal 15 from pid 3254 (bash)\n";
    assert_eq!(ProcessEnd::of_qemu(zero, stderr), ProcessEnd::Signal(15));
    assert_eq!(ProcessEnd::of_qemu(zero, "qemu-system-x86_64: warning: x\n"), ProcessEnd::Code(0));
    assert_eq!(ProcessEnd::of_qemu(one, stderr), ProcessEnd::Code(1));
    let signs = GuestSigns { vmm: ended(ProcessEnd::of_qemu(zero, stderr)), ..GuestSigns::default() };
    assert_eq!(blames(&signs), None);
}
