//! A plan's shards as a Slurm job array: Debian's slurmctld, munge, and two slurmd in their own namespaces.
//!
//! Each node has its own cache, which outlives the node as its disk would, and imports its images from files. Both
//! nodes share one Docker engine, so each sees the other's containers.
//! The shipped files are run: `packaging/slurm/qualify.sbatch` and `packaging/run-shard`.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

mod command;

use command::{
    Ended, PROGRAM, cell, end, events, finished, ids, in_a_guest, kata_qualify, outcomes, results, verdicts, wait_for,
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
    let at = |name: &str| dir.path().join(name);
    let said = |arguments: &[&str]| end(kata_qualify(dir.path()).args(arguments));
    // Also makes the images.
    let undisturbed =
        said(&[&["run"][..], &RELEASES[..], &OF_RUN[..4], &["--in", "container", "--out", "whole"]].concat());
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    let plan = said(&["plan", "debian:12,13", "--in", "container", "--shards", "2", "--format", "json"]);
    fs::write(at("plan.json"), &plan.stdout).unwrap();
    fs::create_dir(at("images")).unwrap();
    let exported = end(kata_qualify(&at("images")).args(["images", "export"]).args(RELEASES));
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    fs::write(at("images/files"), exported.stdout).unwrap();

    let slurm = Slurm::start(&at("slurm"));
    let mut n1 = slurm.node("n1");
    let _n2 = slurm.node("n2");
    wait_for("both nodes to be idle", SOON, || {
        let said = slurm.says("sinfo", &["--noheader", "--Node", "--format", "%t"]);
        if said == "idle\nidle\n" { Ok(()) } else { Err(said) }
    });
    let exports = [
        "ALL".to_owned(),
        format!("PLAN={}", at("plan.json").display()),
        format!("RESULTS={}", at("results").display()),
        format!("KATA_QUALIFY_IMAGES={}", at("images").display()),
        format!("KATA_QUALIFY={PROGRAM}"),
        format!("RUN_SHARD={}", repository("packaging/run-shard").display()),
    ];
    let mut submitted = slurm.command("sbatch");
    submitted.args(["--parsable", "--array=0-1", "--export", &exports.join(",")]).arg("--chdir").arg(dir.path());
    submitted.arg(repository("packaging/slurm/qualify.sbatch")).args(OF_RUN);
    let job = end(&mut submitted);
    assert_eq!(job.code, Some(0), "{}", job.stderr);
    let job = job.stdout.trim();

    let both = [(format!("{job}_0"), "RUNNING".to_owned()), (format!("{job}_1"), "RUNNING".to_owned())];
    let tasks = wait_for("both tasks to run", SOON, || {
        let tasks = slurm.tasks();
        let states: Vec<(String, String)> = tasks.iter().map(|task| (task.id.clone(), task.state.clone())).collect();
        if states == both { Ok(tasks) } else { Err(format!("{states:?}")) }
    });
    let dies = tasks.iter().position(|task| task.node == "n1").unwrap();
    let journal = at(&format!("results/runs/plan-{dies}/journal.jsonl"));
    let run = wait_for("a test that has ended in a guest of n1's shard", SHARD, || {
        let run = in_a_guest(&journal)?;
        let in_guests = |event: &Value| event["guests"].as_array().is_some_and(|guests| !guests.is_empty());
        let ended = |event: &Value| event["event"] == "test-finished" && in_guests(event);
        if events(&journal).iter().any(ended) { Ok(run) } else { Err("no test has ended in a guest".to_owned()) }
    });
    let other = at(&format!("results/runs/plan-{}", 1 - dies)).join("journal.jsonl");
    assert!(other.is_file() && !ended(&other), "n2 has a shard of its own at work");

    n1.die();
    let before = finished(&journal);
    let left = ids(&["ps", "--all", "--quiet"], &run);
    assert!(!left.is_empty(), "the dead node has left its container");
    wait_for("what ran in the dead node's container to end", SOON, || {
        let alive = ids(&["ps", "--quiet"], &run);
        if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?}")) }
    });
    wait_for("the dead node's task to be queued again", SOON, || {
        let tasks = slurm.tasks();
        let queued = |task: &Task| task.id == format!("{job}_{dies}") && task.state == "PENDING";
        if tasks.iter().any(queued) { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    wait_for("both tasks to end", SHARD, || {
        let tasks = slurm.tasks();
        if tasks.is_empty() { Ok(()) } else { Err(format!("{tasks:?}")) }
    });
    let task = slurm.says("scontrol", &["--oneliner", "show", "job", &format!("{job}_{dies}")]);
    for word in ["JobState=COMPLETED", "Restarts=1", "BatchHost=n2"] {
        assert!(task.split_whitespace().any(|said| said == word), "{word}: {task}");
    }

    // The shard went on as the same run, and finished tests were not run again.
    let after = finished(&journal);
    for (attempt, times) in &before {
        assert_eq!((times, after.get(attempt)), (&1, Some(&1)), "{attempt:?}");
    }
    assert_eq!(in_a_guest(&journal), Ok(run.clone()));
    let bundles = ["0", "1"].map(|shard| format!("results/bundles/plan-{shard}.tar.zst"));
    let merged = said(&["merge", &bundles[0], &bundles[1], "--plan", "plan.json", "--out", "merged"]);
    assert_eq!(merged.code, Some(0), "{}", merged.stderr);
    let (merged, undisturbed) = (results(&at("merged")), results(&at("whole")));
    for release in RELEASES.map(|release| format!("{release}/")) {
        let (merged, undisturbed) = (cell(&merged, &release), cell(&undisturbed, &release));
        assert_eq!(verdicts(merged), verdicts(undisturbed), "{release}");
        assert_eq!(outcomes(merged), outcomes(undisturbed), "{release}");
    }

    // The other node saw the dead node's containers, and could not know that nothing needs them any more.
    assert_eq!(ids(&["ps", "--all", "--quiet"], &run), left);
    n1 = slurm.node("n1");
    wait_for("the dead node to be back", SOON, || {
        let said = slurm.says("sinfo", &["--noheader", "--nodes", "n1", "--format", "%t"]);
        if said == "idle\n" { Ok(()) } else { Err(said) }
    });
    let short = "run debian:13 --offline --in container --test smoke::qemu_has_the_machine_type --out back";
    let wrapped = format!("exec {PROGRAM} {short}");
    let mut back = slurm.command("sbatch");
    back.args(["--wait", "--nodelist", "n1", "--export", "KATA_QUALIFY_CACHE=/var/cache/kata-qualify,PATH,HOME"]);
    let back = end(back.args(["--output", "back.log", "--wrap", &wrapped]).arg("--chdir").arg(dir.path()));
    let log = fs::read_to_string(at("back.log")).unwrap_or_default();
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
        fs::write(slurm.configuration(), slurm.told()).unwrap();
        // The directory is private, but munged wants one that everybody may enter, hence `--force`.
        let mut munged = slurm.command("munged");
        munged.args(["--force", "--foreground"]);
        for (option, file) in
            [("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")]
        {
            munged.arg(format!("--{option}={}", folder.join("munge").join(file).display()));
        }
        slurm.daemons.push(slurm.begun(&mut munged, "munged.out"));
        wait_for("munged to listen", SOON, || {
            if folder.join("munge/socket").exists() { Ok(()) } else { Err("no socket".to_owned()) }
        });
        let mut slurmctld = slurm.command("slurmctld");
        slurm.daemons.push(slurm.begun(slurmctld.arg("-D"), "slurmctld.out"));
        slurm
    }

    /// Returns the configuration of docs/ci.md with directories and ports of this test, and with a shorter timeout for
    /// silent nodes.
    fn told(&self) -> String {
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

    fn begun(&self, command: &mut Command, output: &str) -> Child {
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
        Node(self.begun(node.arg(name).arg(cache), &format!("{name}.out")))
    }

    fn says(&self, program: &str, arguments: &[&str]) -> String {
        let Ended { code, stdout, stderr } = end(self.command(program).args(arguments));
        if code == Some(0) { stdout } else { stderr }
    }

    /// Returns the tasks that have not ended, sorted by id.
    fn tasks(&self) -> Vec<Task> {
        let said = self.says("squeue", &["--noheader", "--array", "--format", "%i|%T|%N"]);
        let parsed = |line: &str| {
            let mut words = line.split('|').map(str::to_owned);
            Some(Task { id: words.next()?, state: words.next()?, node: words.next()? })
        };
        let mut tasks: Vec<Task> =
            said.lines().map(|line| parsed(line).unwrap_or_else(|| panic!("squeue: {said}"))).collect();
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
        self.daemons.iter_mut().rev().for_each(killed);
    }
}

/// The parent of the first process in a node's namespace.
struct Node(Child);

impl Node {
    /// Kills the node at once, with everything that runs on it.
    fn die(&mut self) {
        killed(&mut self.0);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.die();
    }
}

fn killed(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn free_ports<const MANY: usize>() -> [u16; MANY] {
    let listening = [(); MANY].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listening.map(|one| one.local_addr().unwrap().port())
}

fn ended(journal: &Path) -> bool {
    events(journal).iter().any(|event| event["event"] == "run-finished")
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
