//! Driver for Chromium, with the W3C WebDriver requests that the tests need.
//!
//! A client crate would bring a second HTTP stack, or a licence that `deny.toml` does not allow.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Timeout of a request.
const DEADLINE: Duration = Duration::from_secs(300);

/// A browser that exits when this value is dropped.
pub(super) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// The directory for the browser's profile and other files.
    _home: tempfile::TempDir,
}

impl Browser {
    pub(super) fn start() -> Browser {
        let home = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            line.strip_prefix("ChromeDriver was started successfully on port ")?.trim_end_matches('.').parse().ok()
        });
        let port = port.expect("chromedriver says on which port it listens");
        let mut browser = Browser { driver, port, session: String::new(), _home: home };
        // In CI the browser runs as root, and it reads only the harness's own pages.
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.ask("POST", "/session", &capabilities);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser
    }

    /// Opens a file; `rest` follows its path in the address.
    pub(super) fn open(&self, file: &Path, rest: &str) {
        let url = format!("file://{}{rest}", file.display());
        // A change of the fragment alone would not load the page again.
        self.of_session("POST", "/url", &json!({ "url": "about:blank" }));
        self.of_session("POST", "/url", &json!({ "url": url }));
    }

    /// Runs a function body, and returns its result.
    pub(super) fn run(&self, body: &str, arguments: &[Value]) -> Value {
        self.of_session("POST", "/execute/sync", &json!({ "script": body, "args": arguments }))
    }

    /// Runs a function body, and returns the value that it passes to its last argument.
    pub(super) fn run_later(&self, body: &str) -> Value {
        self.of_session("POST", "/execute/async", &json!({ "script": body, "args": [] }))
    }

    /// Sends a command of the DevTools protocol.
    pub(super) fn tool(&self, command: &str, parameters: &Value) -> Value {
        self.of_session("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Sets the width of the screen.
    pub(super) fn width(&self, width: u32) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.tool("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Sets the medium and the user's preferred colour scheme.
    pub(super) fn media(&self, media: &str, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tool("Emulation.setEmulatedMedia", &json!({ "media": media, "features": features }));
    }

    /// Presses keys one after another.
    pub(super) fn press(&self, keys: &[&str]) {
        let strokes: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.of_session("POST", "/actions", &actions);
    }

    /// Returns the warnings and errors in the console since the last call.
    pub(super) fn errors(&self) -> Vec<String> {
        let log = self.of_session("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let is_wrong = |entry: &Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        entries.iter().filter(|entry| is_wrong(entry)).map(|entry| entry["message"].to_string()).collect()
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.request(method, path, &body.to_string());
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["value"].clone()
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut line = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        line.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        line.write_all(format!("{head}{body}").as_bytes()).unwrap();
        // The driver does not close the connection; the answer states its length.
        let mut lines = BufReader::new(line);
        let mut next = || {
            let mut text = String::new();
            lines.read_line(&mut text).unwrap();
            text.trim_end().to_ascii_lowercase()
        };
        let status = next().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            match next().split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.request("DELETE", &format!("/session/{}", self.session), "");
        }
        // The browser exits together with its driver.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
