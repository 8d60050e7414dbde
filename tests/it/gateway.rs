//! The gateway as an operator runs it: the program `hearthway serve`, on free ports, with a data
//! directory of its own, spoken to over HTTP.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// How long a step may take before the test gives up: far above what it takes on a busy machine.
pub const STEP_SECONDS_MAX: Duration = Duration::from_secs(30);

/// The operator's token in tests.
pub const OPERATOR: &str = "operator-of-the-tests-0123456789";

/// A running gateway; killed when it is dropped.
pub struct Gateway {
    /// None for one that runs in this process.
    child: Option<Child>,
    /// Such as `http://127.0.0.1:43121`.
    pub http: String,
    /// Host and port of the device endpoint.
    pub mqtt: (String, u16),
    /// The port of the device endpoint over TLS.
    pub mqtts: Option<u16>,
    /// Where MQTT over WebSocket is, such as `ws://127.0.0.1:43121/mqtt`.
    pub websocket: Option<String>,
    client: reqwest::Client,
}

impl Gateway {
    /// Starts it on a data directory and waits for the `ready` line.
    pub fn serve(data: &std::path::Path) -> Gateway {
        Gateway::start(data, |_| {})
    }

    /// The same with a configuration file and further environment variables.
    pub fn serve_with(data: &std::path::Path, config: &std::path::Path, environment: &[(&str, &str)]) -> Gateway {
        Gateway::start(data, |command| {
            command.arg("--config").arg(config).envs(environment.iter().copied());
        })
    }

    fn start(data: &std::path::Path, add: impl FnOnce(&mut Command)) -> Gateway {
        let mut command = serving(data);
        add(&mut command);
        Gateway::started(command)
    }

    /// Starts it under strace, which writes every read, write and sync into a file.
    pub fn serve_traced(data: &std::path::Path, trace: &std::path::Path) -> Gateway {
        const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync";
        let mut strace = Command::new("strace");
        // The tracer stands aside (-D): the child is the gateway, as without it.
        strace.args(["-D", "-f", "-yy", "-xx", "-s", "1048576", "-e", &format!("trace={CALLS}"), "-o"]).arg(trace);
        Gateway::started(serving_by(strace, data))
    }

    /// Starts it on a disk of its own of so many MiB, which goes with it. None where this process may
    /// not mount one.
    pub fn serve_on_small_disk(data: &std::path::Path, mebibytes: u32, config: &std::path::Path) -> Option<Gateway> {
        let mount = format!("mount -t tmpfs -o size={mebibytes}m none \"$HEARTHWAY_DATA_DIR\"");
        // Root needs no user namespace, and in some containers it may not make one.
        for unshare in [["-m"].as_slice(), &["-U", "-r", "-m"]] {
            let mut may = Command::new("unshare");
            may.args(unshare).args(["sh", "-c", &mount]).env("HEARTHWAY_DATA_DIR", data);
            if may.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
                let mut command = Command::new("unshare");
                command.args(unshare).args(["sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
                let mut command = serving_by(command, data);
                command.arg("--config").arg(config);
                return Some(Gateway::started(command));
            }
        }
        None
    }

    /// A path as the gateway sees it: its disk may be its own.
    pub fn inside(&self, path: &std::path::Path) -> std::path::PathBuf {
        let root = std::path::PathBuf::from(format!("/proc/{}/root", self.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    fn started(mut command: Command) -> Gateway {
        let mut child = command.spawn().unwrap();
        let line = first_line(child.stdout.take().unwrap());
        assert!(line.starts_with("ready "), "expected `ready http=… mqtt=…`, got `{line}`");
        let told = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        let http = told("http=").unwrap();
        let (host, port) = host_and_port(&told("mqtt=").unwrap());
        let (mqtts, websocket) = (told("mqtts=").map(|url| host_and_port(&url).1), told("websocket="));
        Gateway { child: Some(child), http, mqtt: (host, port), mqtts, websocket, client: reqwest::Client::new() }
    }

    /// Asks it to end and kills it a moment later: what is in the journal is being written behind.
    #[cfg(unix)]
    pub fn kill_while_it_drains(self, after: Duration) {
        Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        std::thread::sleep(after);
    }

    /// Starts one and kills it a moment later: it may be recovering.
    pub fn kill_while_it_starts(data: &std::path::Path, after: Duration) {
        let mut child = serving(data).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// One that runs in this process, to be spoken to as any other.
    pub fn inside_of_this_process(gateway: &hearthway::gateway::Gateway) -> Gateway {
        let http = format!("http://{}", gateway.http_address());
        let mqtt = gateway.mqtt_address();
        let mqtt = (mqtt.ip().to_string(), mqtt.port());
        Gateway { child: None, http, mqtt, mqtts: None, websocket: None, client: reqwest::Client::new() }
    }

    fn id(&self) -> u32 {
        self.child.as_ref().expect("it is a process of its own").id()
    }

    /// Makes a call and gives status and body.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.http)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.timeout(STEP_SECONDS_MAX).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Makes a call that must succeed and gives its body.
    pub async fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(token, method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path} → {status}: {answer}");
        answer
    }

    /// Sends JSON Lines and gives the answers, a line for a line.
    pub async fn bulk(&self, token: &str, path: &str, lines: String) -> Vec<Value> {
        let request = self.client.post(format!("{}{path}", self.http)).bearer_auth(token).body(lines);
        let response = request.timeout(STEP_SECONDS_MAX).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "POST {path} → {status}: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks it to read its files again.
    #[cfg(unix)]
    pub fn hang_up(&self) {
        Command::new("kill").args(["-HUP", &self.id().to_string()]).status().unwrap();
    }

    /// Asks it to end, as an operator would, and waits for it. `true` where it ended by itself.
    #[cfg(unix)]
    pub fn end(mut self) -> bool {
        Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        let (tx, rx) = mpsc::sync_channel(1);
        let id = self.id();
        std::thread::spawn(move || {
            if rx.recv_timeout(STEP_SECONDS_MAX).is_err() {
                let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            }
        });
        let ended = self.child.as_mut().unwrap().wait().unwrap().success();
        let _ = tx.send(());
        ended
    }
}

/// Waits until the health page answers so, and gives what it says.
pub async fn wait_until_ready_is(gateway: &Gateway, wanted: u16) -> String {
    let begun = std::time::Instant::now();
    loop {
        let (status, answer) = gateway.call("", "GET", "/health/ready", None).await;
        if status == wanted {
            return answer.to_string();
        }
        assert!(begun.elapsed() < STEP_SECONDS_MAX, "/health/ready stays {status}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `hearthway serve` on a data directory, not yet started.
fn serving(data: &std::path::Path) -> Command {
    serving_by(Command::new("env"), data)
}

/// The same by another program, which gets the gateway as its last arguments.
fn serving_by(mut command: Command, data: &std::path::Path) -> Command {
    command
        .arg(env!("CARGO_BIN_EXE_hearthway"))
        .args(["serve", "--log", "warn"])
        .env("HEARTHWAY_OPERATOR_TOKEN", OPERATOR)
        .env("HEARTHWAY_DATA_DIR", data)
        .env("HEARTHWAY_HTTP_BIND", "127.0.0.1:0")
        .env("HEARTHWAY_MQTT_BIND", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Of `mqtt://127.0.0.1:1883` or `ws://127.0.0.1:8083/mqtt`.
pub fn host_and_port(url: &str) -> (String, u16) {
    let (_, rest) = url.split_once("://").unwrap();
    let (host, port) = rest.split('/').next().unwrap().rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

fn first_line(stdout: impl Read + Send + 'static) -> String {
    let (tx, rx) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines();
        let _ = tx.send(lines.next().transpose().unwrap_or_default().unwrap_or_default());
        // Reads on, so that the gateway never writes into a closed pipe.
        lines.for_each(drop);
    });
    rx.recv_timeout(STEP_SECONDS_MAX).expect("the gateway prints its `ready` line")
}
