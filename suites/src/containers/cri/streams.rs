//! The streams of a pod's processes, its logs and its ports.

use super::in_a_pod;
use crate::capability::Capability;
use crate::check::Check;
use crate::containers::process::{pattern, same_bytes, wait_for, wait_within};
use crate::ensure;
use crate::environment::{Containers, PodContainer, PodWanted, TerminalSize};
use crate::row::{Row, row};
use crate::test::Place;
use std::time::Duration;

const SOURCE: &str = include_str!("streams.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Containers(streams_of_an_executed_process_arrive), &[Capability::KataCriStreaming], Qemu).seconds(240),
    row!(Containers(a_process_has_a_terminal_and_its_size), &[Capability::KataCriStreaming], Qemu).seconds(240),
    row!(Containers(a_container_can_be_attached_to), &[Capability::KataCriStreaming], Qemu).seconds(240),
    row!(Containers(a_containers_log_has_what_it_said), &[Capability::KataCriStreaming], Qemu).seconds(240),
    // A control only: containerd connects to the port in the pod's namespace on the host, where a Kata pod has no
    // process; Kata skips its own test of port forwarding (kata-containers/runtime issue 1834).
    row!(Containers(a_port_of_a_pod_is_forwarded), &[Capability::KataCriStreaming], Containerd).places(&[Place::Runc]),
];

/// How much is sent to a process, bytes.
const STREAM: usize = 256 << 10;
/// Terminal sizes, none of which is a default.
const SIZES: [TerminalSize; 2] = [TerminalSize { rows: 33, columns: 101 }, TerminalSize { rows: 47, columns: 162 }];

/// Input for an executed process arrives whole, and so do its output, its errors and its exit code.
///
/// `kubectl exec -i`: kubelet hands the client on to containerd's streaming server, and under Kata the shim carries
/// each stream to the agent (Exec in `src/runtime/pkg/containerd-shim-v2/service.go@4.1.0`).
fn streams_of_an_executed_process_arrive(containers: &dyn Containers) -> Check {
    in_a_pod(containers, &PodWanted::named("kq-exec"), &PodContainer::new(&["stay"]), |container| {
        let sent = pattern(STREAM);
        let echoed = container.exec_by_streams(&["cat", &STREAM.to_string()], &sent)?;
        ensure!(echoed.code == 0, "cat ended with {}", echoed.summary());
        same_bytes("standard output", &echoed.stdout, &sent)?;
        let flooded = container.exec_by_streams(&["flood", &STREAM.to_string()], &[])?;
        same_bytes("standard output", &flooded.stdout, &sent)?;
        let backwards: Vec<u8> = sent.iter().rev().copied().collect();
        same_bytes("standard error", &flooded.stderr, &backwards)?;
        let failed = container.exec_by_streams(&["exit", "7"], &[])?;
        ensure!(failed.code == 7, "a process exited with 7, and its stream reported {}", failed.code);
        Ok(())
    })
}

/// A process that asks for a terminal has it as all three streams, sees its size, and is notified of each change of the
/// size.
///
/// `kubectl exec -it`, and a window that is resized: containerd passes the size to the shim, and under Kata the shim to
/// the agent, which sets it in the guest (ResizePty in `src/runtime/pkg/containerd-shim-v2/service.go@4.1.0`,
/// `tty_win_resize` in `src/agent/src/rpc.rs@4.1.0`).
fn a_process_has_a_terminal_and_its_size(containers: &dyn Containers) -> Check {
    in_a_pod(containers, &PodWanted::named("kq-terminal"), &PodContainer::new(&["stay"]), |container| {
        let last = SIZES[1].to_string();
        let ended = container.exec_on_a_terminal(&["terminal", &last], &SIZES)?;
        let text = ended.text();
        let first = text.lines().next().unwrap_or_default();
        ensure!(first == "terminals: yes yes yes", "not all three streams are a terminal: {}", ended.summary());
        ensure!(ended.code == 0, "a process on a terminal ended with {}", ended.summary());
        ensure!(
            text.lines().next_back() == Some(last.as_str()),
            "its size was to be {last} in the end: {}",
            ended.summary()
        );
        Ok(())
    })
}

/// A client that attaches to a container can send input to its first process and reads the process's answer.
///
/// `kubectl attach`; under Kata the shim's own streams of the container are used (CloseIO and IO in
/// `src/runtime/pkg/containerd-shim-v2/service.go@4.1.0`).
fn a_container_can_be_attached_to(containers: &dyn Containers) -> Check {
    let wanted = PodContainer { input: true, ..PodContainer::new(&["echo"]) };
    in_a_pod(containers, &PodWanted::named("kq-attach"), &wanted, |container| {
        let sent = pattern(8 << 10);
        same_bytes("what comes back", &container.attach(&sent)?, &sent)
    })
}

/// A container's log has each line of its output, with the stream and a time, also after the container has ended.
///
/// `kubectl logs` reads that file; its form is that of CRI's logs. Under Kata the lines come through the shim
/// (testContainerStart in `tests/integration/cri-containerd/integration-tests.sh@4.1.0`).
fn a_containers_log_has_what_it_said(containers: &dyn Containers) -> Check {
    let wanted = PodContainer::new(&["rewrite", "/tmp/said", "one\ntwo\n"]);
    in_a_pod(containers, &PodWanted::named("kq-log"), &wanted, |container| {
        let end = container.wait(Duration::from_secs(60))?;
        ensure!(end.code == 0, "the container's end is {end:?}");
        // The container has ended, so lines that are still missing at the deadline are lost.
        wait_within(
            Duration::from_secs(20),
            || container.log().is_ok_and(|log| log.lines().map(text_of).eq([Some("one"), Some("two")])),
            || format!("the log of a container that said one and two has {:?}", container.log()),
        )
    })
}

/// Returns the text of a log's line if it is of standard output: `2026-11-28T19:00:00.1Z stdout F one`.
fn text_of(line: &str) -> Option<&str> {
    let mut words = line.splitn(4, ' ');
    let (time, stream, kind) = (words.next()?, words.next()?, words.next()?);
    let is_time = time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T');
    (is_time && stream == "stdout" && kind == "F").then(|| words.next().unwrap_or_default())
}

/// A port of a pod is reached through CRI.
///
/// `kubectl port-forward`. containerd connects to the port in the pod's network namespace on the host, so that under
/// Kata nothing answers there, and Kata's own test says so
/// (`tests/integration/kubernetes/k8s-port-forward.bats@4.1.0`). This is a control only.
fn a_port_of_a_pod_is_forwarded(containers: &dyn Containers) -> Check {
    let cri = containers.cri()?;
    cri.pull()?;
    let pod = cri.run_pod(&PodWanted::named("kq-port"))?;
    let container = pod.start(&PodContainer::new(&["serve", "8080"]))?;
    // The server listens a moment after its start.
    wait_for(
        || container.exec(&["fetch", "127.0.0.1", "8080"]).is_ok_and(|fetched| fetched.text() == "served"),
        || "a server does not answer in its own container".to_owned(),
    )?;
    let came = pod.read_port(8080, b"served".len())?;
    ensure!(came == b"served", "the port's server says served, forwarded came {:?}", String::from_utf8_lossy(&came));
    drop(container);
    pod.remove()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_is_a_time_a_stream_a_tag_and_text() {
        assert_eq!(text_of("2026-11-28T19:00:00.1Z stdout F one and more"), Some("one and more"));
        assert_eq!(text_of("2026-11-28T19:00:00.1Z stdout F "), Some(""));
        for wrong in ["one", "2026-11-28T19:00:00.1Z stderr F one", "x stdout F one", ""] {
            assert_eq!(text_of(wrong), None, "{wrong:?}");
        }
    }
}
