use super::*;
use std::io::BufRead as _;
use std::thread::JoinHandle;

const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}"#;
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

/// A peer that greets, then answers the n-th request with the n-th text, in which `$ID` is the request's id.
fn peer(greeting: &str, answers: &[&str]) -> (UnixStream, JoinHandle<Vec<String>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (greeting, answers) = (greeting.to_owned(), answers.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let handle = std::thread::spawn(move || {
        let mut requests = Vec::new();
        let _ = theirs.write_all(greeting.as_bytes());
        let _ = theirs.write_all(b"\r\n");
        let mut lines = std::io::BufReader::new(theirs.try_clone().unwrap()).lines();
        for answer in answers {
            let Some(Ok(request)) = lines.next() else {
                break;
            };
            let id = serde_json::from_str::<Value>(&request).unwrap()["id"].to_string();
            requests.push(request);
            let _ = theirs.write_all(answer.replace("$ID", &id).as_bytes());
        }
        // Without an answer the connection stays open until the client goes.
        if requests.last().is_some_and(|last| last.contains("hang")) {
            let _ = lines.next();
        }
        requests
    });
    (ours, handle)
}

const OK: &str = "{\"return\": {}, \"id\": $ID}\r\n";

#[test]
fn a_command_returns_its_value_and_events_are_kept() {
    let answer = "{\"event\": \"STOP\", \"timestamp\": {}}\r\n{\"return\": {\"status\": \"paused\"}, \"id\": $ID}\r\n{\"event\": \"RESUME\"}\r\n";
    let (stream, peer) = peer(GREETING, &[OK, answer]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    assert_eq!(qmp.version()["qemu"]["major"], 7);
    assert_eq!(qmp.execute("query-status", json!({"a": 1})).unwrap(), json!({"status": "paused"}));
    assert_eq!(qmp.wait_event("RESUME", LONG).unwrap()["event"], "RESUME");
    let names: Vec<Value> = qmp.events.drain(..).map(|mut e| e["event"].take()).collect();
    assert_eq!(names, ["STOP"]);
    insta::assert_snapshot!(qmp.transcript().to_string(), @r#"
    < {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}
    > {"execute":"qmp_capabilities","id":1}
    < {"return": {}, "id": 1}
    > {"arguments":{"a":1},"execute":"query-status","id":2}
    < {"event": "STOP", "timestamp": {}}
    < {"return": {"status": "paused"}, "id": 2}
    < {"event": "RESUME"}
    "#);
    drop(qmp);
    assert_eq!(peer.join().unwrap().len(), 2);
}

#[test]
fn a_refused_command_is_a_typed_error_and_the_connection_remains_usable() {
    let refusal = "{\"id\": $ID, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command x has not been found\"}}\r\n";
    let (stream, _peer) = peer(GREETING, &[OK, refusal, OK]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    let error = qmp.execute("x", Value::Null).unwrap_err();
    assert!(matches!(&error, QmpError::Command { class, .. } if class == "CommandNotFound"), "{error}");
    assert_eq!(error.to_string(), "x was refused (CommandNotFound): The command x has not been found");
    assert!(qmp.execute("y", Value::Null).is_ok());
}

#[test]
fn silence_is_a_timeout_and_ends_the_connection() {
    let (stream, _peer) = peer(GREETING, &[OK, ""]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    qmp.deadline = SHORT;
    let error = qmp.execute("hang", Value::Null).unwrap_err();
    assert!(matches!(error, QmpError::Timeout { .. }), "{error}");
    // The late answer must not be taken for the answer to the next command.
    assert!(matches!(qmp.execute("query-status", Value::Null), Err(QmpError::Closed { .. })));
}

#[test]
fn a_connection_closed_by_the_peer_is_not_a_timeout() {
    let (stream, _peer) = peer(GREETING, &[OK, "{\"ret"]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    assert!(matches!(qmp.execute("quit", Value::Null), Err(QmpError::Closed { .. })));
}

#[test]
fn stored_events_are_bounded() {
    let events = "{\"event\": \"RTC_CHANGE\"}\n".repeat(MAX_EVENTS + 5);
    let (stream, _peer) = peer(GREETING, &[OK, &format!("{events}{OK}")]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    qmp.execute("query-status", Value::Null).unwrap();
    assert_eq!(qmp.events.len(), MAX_EVENTS);
}

#[test]
fn endless_events_do_not_keep_a_command_past_its_deadline() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let began = Instant::now();
    let peer = std::thread::spawn(move || {
        theirs.write_all(format!("{GREETING}\r\n{}", OK.replace("$ID", "1")).as_bytes()).unwrap();
        // A client without a deadline gets the end of the connection.
        while began.elapsed() < LONG && theirs.write_all(b"{\"event\": \"RTC_CHANGE\"}\r\n").is_ok() {}
    });
    let mut qmp = Qmp::connect(ours, LONG).unwrap();
    qmp.deadline = SHORT;
    let event = qmp.wait_event("STOP", SHORT).unwrap_err();
    let command = qmp.execute("query-status", Value::Null).unwrap_err();
    for error in [event, command] {
        // The time is that since the command, not since the last event.
        assert!(matches!(&error, QmpError::Timeout { waited, .. } if *waited >= SHORT), "{error}");
    }
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    drop(qmp);
    peer.join().unwrap();
}

#[test]
fn a_peer_that_does_not_speak_qmp_is_a_protocol_error() {
    for (greeting, expected) in [("SSH-2.0-OpenSSH", "JSON"), ("{\"hello\": 1}", "a greeting"), ("[]", "a greeting")] {
        let (stream, _peer) = peer(greeting, &[]);
        let error = Qmp::connect(stream, LONG).unwrap_err();
        assert!(matches!(&error, QmpError::Protocol { expected: e, .. } if *e == expected), "{error}");
    }
    let (stream, _peer) = peer(GREETING, &[OK, "{\"return\": {}, \"id\": 77}\n"]);
    let mut qmp = Qmp::connect(stream, LONG).unwrap();
    assert!(matches!(qmp.execute("query-status", Value::Null), Err(QmpError::Protocol { .. })));
}

#[test]
fn a_line_over_the_limit_is_refused() {
    let (stream, _peer) = peer(&"x".repeat(MAX_LINE + 100_000), &[]);
    let error = Qmp::connect(stream, LONG).unwrap_err();
    assert!(error.to_string().contains("a line of at most 8 MiB"), "{error}");
}

#[test]
fn a_transcript_is_bounded() {
    let mut transcript = Transcript::default();
    for _ in 0..100 {
        transcript.push(Direction::Received, &[b'x'; 100_000]);
    }
    assert_eq!(transcript.lines.len(), 64);
    assert_eq!(transcript.dropped, 36);
    assert!(transcript.to_string().contains("(cut)"));
}
