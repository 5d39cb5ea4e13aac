//! A plan's shards as a Slurm job array: Debian's slurmctld, munge, and two slurmd in their own namespaces.
//!
//! Each node has its own cache, which outlives the node as its disk would, and imports its images from files. Both
//! nodes share one Docker engine, so each sees the other's containers.
//! The shipped files are run: `packaging/slurm/qualify.sbatch` and `packaging/run-shard`.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;

use command::{
    CommandOutput, PROGRAM, cell, events, finished, ids, kata_qualify, outcomes, results, run_id_once_a_guest_started,
    run_to_end, verdicts, wait_for,
};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One shard for each release.
const RELEASES: [&str; 2] = ["debian:12", "debian:13"];
/// Options of each shard's run.
const OF_RUN: [&str; 5] = ["--profile", "go-3.32", "--test", "hotplugged", "--offline"];
/// Time limit for a daemon to answer, for a task to start, and for the remains of a killed node to end.
const SOON: Duration = Duration::from_secs(120);
/// Time limit for a shard to end. A requeued shard waits two minutes, and then for the other shard.
const SHARD: Duration = Duration::from_secs(3600);

#[test]
#[ignore = "takes Slurm, and half an hour: .ci/nightly"]
fn the_shard_of_a_dead_node_is_resumed_on_the_other_node() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path_of = |name: &str| dir.path().join(name);
    let run_command = |arguments: &[&str]| run_to_end(kata_qualify(dir.path()).args(arguments));
    // Also makes the images.
    let undisturbed =
        run_command(&[&["run"][..], &RELEASES[..], &OF_RUN[..4], &["--in", "container", "--out", "whole"]].concat());
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    let plan = run_command(&["plan", "debian:12,13", "--in", "container", "--shards", "2", "--format", "json"]);
    fs::write(path_of("plan.json"), &plan.stdout).unwrap();
    let digest = reports::digest::short(&plan.stdout);
    fs::create_dir(path_of("images")).unwrap();
    let exported = run_to_end(kata_qualify(&path_of("images")).args(["images", "export"]).args(RELEASES));
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    fs::write(path_of("images/files"), exported.stdout).unwrap();

    let slurm = Slurm::start(&path_of("slurm"));
    let mut n1 = slurm.node("n1");
    let _n2 = slurm.node("n2");
    wait_for("both nodes to be idle", SOON, || {
        let state = slurm.output_of("sinfo", &["--noheader", "--Node", "--format", "%t"]);
        if state == "idle\nidle\n" { Ok(()) } else { Err(state) }
    });
    let exports = [
        "ALL".to_owned(),
        format!("PLAN={}", path_of("plan.json").display()),
        format!("RESULTS={}", path_of("results").display()),
        format!("KATA_QUALIFY_IMAGES={}", path_of("images").display()),
        format!("KATA_QUALIFY={PROGRAM}"),
        format!("RUN_SHARD={}", repository("packaging/run-shard").display()),
    ];
    let mut submitted = slurm.command("sbatch");
    submitted.args(["--parsable", "--array=0-1", "--export", &exports.join(",")]).arg("--chdir").arg(dir.path());
    submitted.arg(repository("packaging/slurm/qualify.sbatch")).args(OF_RUN);
    let job = run_to_end(&mut submitted);
    assert_eq!(job.code, Some(0), "{}", job.stderr);
    let job = job.stdout.trim();

    let both = [(format!("{job}_0"), "RUNNING".to_owned()), (format!("{job}_1"), "RUNNING".to_owned())];
    let tasks = wait_for("both tasks to run", SOON, || {
        let tasks = slurm.tasks();
        let states: Vec<(String, String)> = tasks.iter().map(|task| (task.id.clone(), task.state.clone())).collect();
        if states == both { Ok(tasks) } else { Err(format!("{states:?}")) }
    });
    let dead_task = tasks.iter().position(|task| task.node == "n1").unwrap();
    let journal = path_of(&format!("results/runs/plan-{digest}-{dead_task}/journal.jsonl"));
    let run = wait_for("a test that has ended in a guest of n1's shard", SHARD, || {
        let run = run_id_once_a_guest_started(&journal)?;
        let in_guests = |event: &Value| event["guests"].as_array().is_some_and(|guests| !guests.is_empty());
        let is_finished_test = |event: &Value| event["event"] == "test-finished" && in_guests(event);
        if events(&journal).iter().any(is_finished_test) {
            Ok(run)
        } else {
            Err("no test has ended in a guest".to_owned())
        }
    });
    let other = path_of(&format!("results/runs/plan-{digest}-{}", 1 - dead_task)).join("journal.jsonl");
    assert!(other.is_file() && !has_ended(&other), "n2 has a shard of its own at work");

    n1.die();
    let before = finished(&journal);
    let remaining = ids(&["ps", "--all", "--quiet"], &run);
    assert!(!remaining.is_empty(), "the dead node has left its container");
    wait_for("what ran in the dead node's container to end", SOON, || {
        let alive = ids(&["ps", "--quiet"], &run);
        if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?}")) }
    });
    wait_for("the dead node's task to be queued again", SOON, || {
        let tasks = slurm.tasks();
        let queued = |task: &Task| task.id == format!("{job}_{dead_task}") && task.state == "PENDING";
        if tasks.iter().any(queued) { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    wait_for("both tasks to end", SHARD, || {
        let tasks = slurm.tasks();
        if tasks.is_empty() { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    let task = slurm.output_of("scontrol", &["--oneliner", "show", "job", &format!("{job}_{dead_task}")]);
    for word in ["JobState=COMPLETED", "Restarts=1", "BatchHost=n2"] {
        assert!(task.split_whitespace().any(|field| field == word), "{word}: {task}");
    }

    // The shard went on as the same run, and finished tests were not run again.
    let after = finished(&journal);
    for (attempt, times) in &before {
        assert_eq!((times, after.get(attempt)), (&1, Some(&1)), "{attempt:?}");
    }
    assert_eq!(run_id_once_a_guest_started(&journal), Ok(run.clone()));
    let bundles = ["0", "1"].map(|shard| format!("results/bundles/plan-{digest}-{shard}.tar.zst"));
    let merged = run_command(&["merge", &bundles[0], &bundles[1], "--plan", "plan.json", "--out", "merged"]);
    assert_eq!(merged.code, Some(0), "{}", merged.stderr);
    let (merged, undisturbed) = (results(&path_of("merged")), results(&path_of("whole")));
    for release in RELEASES.map(|release| format!("{release}/")) {
        let (merged, undisturbed) = (cell(&merged, &release), cell(&undisturbed, &release));
        assert_eq!(verdicts(merged), verdicts(undisturbed), "{release}");
        assert_eq!(outcomes(merged), outcomes(undisturbed), "{release}");
    }

    // The other node saw the dead node's containers, and could not know that nothing needs them any more.
    assert_eq!(ids(&["ps", "--all", "--quiet"], &run), remaining);
    n1 = slurm.node("n1");
    wait_for("the dead node to be back", SOON, || {
        let state = slurm.output_of("sinfo", &["--noheader", "--nodes", "n1", "--format", "%t"]);
        if state == "idle\n" { Ok(()) } else { Err(state) }
    });
    let short = "run debian:13 --offline --in container --test smoke::qemu_has_the_machine_type --out back";
    let wrapped = format!("exec {PROGRAM} {short}");
    let mut back = slurm.command("sbatch");
    back.args(["--wait", "--nodelist", "n1", "--export", "KATA_QUALIFY_CACHE=/var/cache/kata-qualify,PATH,HOME"]);
    let back = run_to_end(back.args(["--output", "back.log", "--wrap", &wrapped]).arg("--chdir").arg(dir.path()));
    let log = fs::read_to_string(path_of("back.log")).unwrap_or_default();
    assert_eq!(back.code, Some(0), "{}\n{log}", back.stderr);
    for what in [&["ps", "--all", "--quiet"][..], &["volume", "ls", "--quiet"]] {
        assert_eq!(ids(what, &run), Vec::<String>::new(), "it sweeps what is its own: {log}");
    }
    n1.die();
}

/// A task of the array.
#[derive(Debug)]
struct Task {
    /// The id: `7_0`.
    id: String,
    /// The state: `RUNNING`.
    state: String,
    /// The node; empty while the task waits.
    node: String,
}

/// munge and slurmctld, with a directory for all files that they write.
struct Slurm {
    folder: PathBuf,
    daemons: Vec<Child>,
}

impl Slurm {
    fn start(folder: &Path) -> Slurm {
        fs::create_dir(folder).unwrap();
        for below in ["munge", "state", "spool"] {
            fs::create_dir(folder.join(below)).unwrap();
        }
        fs::write(folder.join("munge/key"), [7_u8; 128]).unwrap();
        fs::set_permissions(folder.join("munge/key"), fs::Permissions::from_mode(0o400)).unwrap();
        let mut slurm = Slurm { folder: folder.to_owned(), daemons: Vec::new() };
        fs::write(slurm.configuration(), slurm.configuration_text()).unwrap();
        // The directory is private, but munged wants one that everybody may enter, hence `--force`.
        let mut munged = slurm.command("munged");
        munged.args(["--force", "--foreground"]);
        for (option, file) in
            [("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")]
        {
            munged.arg(format!("--{option}={}", folder.join("munge").join(file).display()));
        }
        slurm.daemons.push(slurm.spawn(&mut munged, "munged.out"));
        wait_for("munged to listen", SOON, || {
            if folder.join("munge/socket").exists() { Ok(()) } else { Err("no socket".to_owned()) }
        });
        let mut slurmctld = slurm.command("slurmctld");
        slurm.daemons.push(slurm.spawn(slurmctld.arg("-D"), "slurmctld.out"));
        slurm
    }

    /// Returns the configuration of docs/ci.md with directories and ports of this test, and with a shorter timeout for
    /// silent nodes.
    fn configuration_text(&self) -> String {
        let [controller, n1, n2] = free_ports();
        let folder = self.folder.display();
        format!(
            "ClusterName=try\nSlurmctldHost=localhost\nSlurmctldPort={controller}\nSlurmUser=root\n\
             AuthInfo=socket={folder}/munge/socket\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             ReturnToService=2\nSlurmdParameters=config_overrides\nSlurmdTimeout=20\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool/%n\n\
             SlurmctldPidFile={folder}/slurmctld.pid\nSlurmdPidFile={folder}/%n.pid\n\
             NodeName=n1 NodeHostname=localhost Port={n1} CPUs=2 RealMemory=8192\n\
             NodeName=n2 NodeHostname=localhost Port={n2} CPUs=2 RealMemory=8192\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
        )
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("slurm.conf")
    }

    /// Returns a Slurm command, which inherits only `PATH` from this terminal.
    fn command(&self, program: &str) -> Command {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.env_remove("KATA_QUALIFY_CACHE").env("PATH", path).env("SLURM_CONF", self.configuration());
        command.stdin(Stdio::null());
        command
    }

    fn spawn(&self, command: &mut Command, output: &str) -> Child {
        let output = fs::File::options().create(true).append(true).open(self.folder.join(output)).unwrap();
        command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// Starts a node. When the first process of its namespace is killed, the kernel kills all others in the namespace.
    fn node(&self, name: &str) -> Node {
        let cache = self.folder.join(format!("{name}-cache"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&cache).unwrap();
        let script = "mount -t tmpfs none /var/cache && mkdir -m 700 /var/cache/kata-qualify &&
            mount --bind \"$1\" /var/cache/kata-qualify && exec slurmd -D -N \"$0\"";
        let mut node = self.command("unshare");
        node.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--ipc", "sh", "-c", script]);
        Node(self.spawn(node.arg(name).arg(cache), &format!("{name}.out")))
    }

    fn output_of(&self, program: &str, arguments: &[&str]) -> String {
        let CommandOutput { code, stdout, stderr } = run_to_end(self.command(program).args(arguments));
        if code == Some(0) { stdout } else { stderr }
    }

    /// Returns the tasks that have not ended, sorted by id.
    fn tasks(&self) -> Vec<Task> {
        let output = self.output_of("squeue", &["--noheader", "--array", "--format", "%i|%T|%N"]);
        let parse_task = |line: &str| {
            let mut words = line.split('|').map(str::to_owned);
            Some(Task { id: words.next()?, state: words.next()?, node: words.next()? })
        };
        let mut tasks: Vec<Task> =
            output.lines().map(|line| parse_task(line).unwrap_or_else(|| panic!("squeue: {output}"))).collect();
        tasks.sort_by(|one, other| one.id.cmp(&other.id));
        tasks
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["slurmctld.out", "n1.out", "n2.out"] {
                let text = fs::read_to_string(self.folder.join(log)).unwrap_or_default();
                let last: Vec<&str> = text.lines().rev().take(20).collect();
                eprintln!("the last of {log}:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
        self.daemons.iter_mut().rev().for_each(kill);
    }
}

/// The parent of the first process in a node's namespace.
struct Node(Child);

impl Node {
    /// Kills the node at once, with everything that runs on it.
    fn die(&mut self) {
        kill(&mut self.0);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.die();
    }
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn free_ports<const MANY: usize>() -> [u16; MANY] {
    let listening = [(); MANY].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listening.map(|one| one.local_addr().unwrap().port())
}

fn has_ended(journal: &Path) -> bool {
    events(journal).iter().any(|event| event["event"] == "run-finished")
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
