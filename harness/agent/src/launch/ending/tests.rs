use super::*;
use suites::check::Stop;
use suites::outcome::Component;

fn ended(end: End) -> Process {
    Process::Ended { end, words: "last words".to_owned() }
}

const SEGV: End = End::Signal(11);
const KILL: End = End::Signal(9);
const RUNS: Process = Process::Runs;

/// Whom the row blames: a component, or nobody.
fn blames(facts: &Facts) -> Option<Component> {
    match judge(facts).map(|ending| ending.stop("x")) {
        Some(Stop::Fail { blames, .. }) => Some(blames.unwrap()),
        Some(Stop::Error { .. }) => None,
        other => panic!("{facts:?} is {other:?}"),
    }
}

/// Each combination of how QEMU and its daemon are, and what the rest of the world saw by then.
#[test]
fn every_pair_of_a_vmm_and_a_daemon_has_its_row() {
    let qemu = Some(Component::Qemu);
    let daemon = Some(Component::Virtiofsd);
    let kernel = Some(Component::Kernel);
    let nobody = None;
    let gone_with_its_vmm = || Some(ended(End::Code(0)));
    let rows = [
        // A QEMU that crashes takes the line, and the daemon's reason to be, with it.
        (ended(SEGV), None, &qemu),
        (ended(SEGV), Some(RUNS), &qemu),
        (ended(SEGV), gone_with_its_vmm(), &qemu),
        (ended(SEGV), Some(ended(End::Code(1))), &qemu),
        (ended(SEGV), Some(ended(KILL)), &qemu),
        (ended(SEGV), Some(ended(End::Signal(6))), &nobody),
        (ended(End::Signal(31)), None, &qemu),
        (ended(KILL), None, &nobody),
        (ended(KILL), gone_with_its_vmm(), &nobody),
        (ended(KILL), Some(ended(SEGV)), &nobody),
        (ended(End::Signal(15)), Some(RUNS), &nobody),
        (ended(End::Code(1)), None, &qemu),
        (ended(End::Code(1)), Some(RUNS), &qemu),
        (ended(End::Code(1)), gone_with_its_vmm(), &qemu),
        (ended(End::Code(1)), Some(ended(End::Code(1))), &qemu),
        (ended(End::Code(1)), Some(ended(SEGV)), &daemon),
        (ended(End::Code(1)), Some(ended(KILL)), &nobody),
        (ended(End::Code(0)), None, &kernel),
        (ended(End::Code(0)), gone_with_its_vmm(), &kernel),
        (ended(End::Code(0)), Some(ended(SEGV)), &daemon),
        (ended(End::Code(0)), Some(ended(KILL)), &nobody),
        (ended(End::Code(0)), Some(ended(End::Code(101))), &daemon),
        (ended(End::Code(1)), Some(ended(End::Code(101))), &daemon),
        (RUNS, Some(ended(SEGV)), &daemon),
        (RUNS, Some(ended(End::Code(0))), &nobody),
        (RUNS, Some(ended(End::Code(1))), &daemon),
        (RUNS, Some(ended(KILL)), &nobody),
        (RUNS, Some(Process::Stopped), &nobody),
        (Process::Stopped, None, &nobody),
        (Process::Stopped, Some(RUNS), &nobody),
        (Process::Stopped, Some(Process::Stopped), &nobody),
        (Process::Stopped, Some(ended(SEGV)), &daemon),
        (Process::Stopped, Some(ended(KILL)), &nobody),
    ];
    for (vmm, daemon, expected) in rows {
        let facts = Facts { vmm, daemon, ..Facts::default() };
        // What else is seen of a dead pair changes nothing: a line that ended, a silence, a QMP that says nothing.
        for (line_ended, silent) in [(false, None), (true, None), (true, Some(30)), (false, Some(30))] {
            let facts = Facts { line_ended, silent, qmp: Some(Qmp::Nothing), ..facts.clone() };
            assert_eq!(&blames(&facts), expected, "{facts:?}");
        }
        // A panic comes before whatever it brings about.
        let facts = Facts { panic: Some("Kernel panic - not syncing: x".to_owned()), ..facts };
        assert_eq!(blames(&facts), kernel, "{facts:?}");
    }
}

#[test]
fn what_runs_is_judged_by_the_kernel_the_line_and_qmp_in_this_order() {
    let facts = Facts { silent: Some(61), qmp: Some(Qmp::Running), ..Facts::default() };
    assert_eq!(judge(&facts), Some(Ending::Hung { silent: 61 }));
    let paused = Facts { qmp: Some(Qmp::Other("paused".to_owned())), ..facts.clone() };
    assert!(matches!(judge(&paused), Some(Ending::VmmStopped { state }) if state.contains("paused")));
    assert_eq!(judge(&Facts { qmp: Some(Qmp::Nothing), ..facts.clone() }), Some(Ending::VmmMute));
    assert_eq!(judge(&Facts { line_ended: true, ..facts.clone() }), Some(Ending::LineClosed));
    let oops = Some("Oops: 0000".to_owned());
    assert!(matches!(judge(&Facts { oops: oops.clone(), line_ended: true, ..facts }), Some(Ending::Oopsed { .. })));
    assert_eq!(judge(&Facts::default()), None, "a guest that is well");
    let with_daemon = Facts { daemon: Some(RUNS), ..Facts::default() };
    assert_eq!(judge(&with_daemon), None, "a guest that is well");
    // An oops explains a guest that then powers off, but no crash of QEMU's.
    let off = Facts { oops: oops.clone(), vmm: ended(End::Code(0)), ..Facts::default() };
    assert!(matches!(judge(&off), Some(Ending::Oopsed { .. })));
    assert_eq!(judge(&Facts { oops, vmm: ended(SEGV), ..off }), Some(Ending::VmmKilled { signal: 11 }));
}

#[test]
fn a_shell_that_waits_for_the_real_program_hides_no_signal() {
    let ran = |script: &str| End::of(std::process::Command::new("sh").args(["-c", script]).status().unwrap());
    assert_eq!(ran("exit 0"), End::Code(0));
    assert_eq!(ran("exit 1"), End::Code(1));
    assert_eq!(ran("kill -SEGV $$"), SEGV);
    assert_eq!(ran("sh -c 'kill -SEGV $$' 2>/dev/null; exit $?"), SEGV);
    assert_eq!(ran("sh -c 'kill -KILL $$' 2>/dev/null; exit $?"), KILL);
    assert_eq!(ran("exit 255"), End::Code(255));
}

/// QEMU exits with 0 on SIGTERM, too.
#[test]
fn a_qemu_that_was_told_to_end_did_not_power_off() {
    use std::os::unix::process::ExitStatusExt as _;
    let (well, ill) = (std::process::ExitStatus::from_raw(0), std::process::ExitStatus::from_raw(1 << 8));
    let said = "qemu-system-x86_64: warning: x\nqemu-system-x86_64: terminating on signal 15 from pid 3254 (bash)\n";
    assert_eq!(End::of_qemu(well, said), End::Signal(15));
    assert_eq!(End::of_qemu(well, "qemu-system-x86_64: warning: x\n"), End::Code(0));
    assert_eq!(End::of_qemu(ill, said), End::Code(1));
    let facts = Facts { vmm: ended(End::of_qemu(well, said)), ..Facts::default() };
    assert_eq!(blames(&facts), None);
}

#[test]
fn panics_and_oopses_are_told_apart_in_real_logs() {
    let panic = "[    3.1] sysrq: Trigger a crash\n[    3.2] Kernel panic - not syncing: sysrq triggered crash\n";
    assert_eq!(panic_line(panic).as_deref(), Some("[    3.2] Kernel panic - not syncing: sysrq triggered crash"));
    assert_eq!(oops_line(panic), None);
    let oops = "[    5.0] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n";
    assert!(oops_line(oops).is_some());
    assert_eq!(panic_line(oops), None);
}

#[test]
fn this_very_process_runs() {
    assert!(matches!(process_state(std::process::id()), Some('R' | 'S')));
}
