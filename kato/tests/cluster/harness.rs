//! Nodes of a test: the built `kato` below roots of their own, at ports that were free, ended when the test ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cluster::identity::Pki;
use cluster::nodes::{NodeFile, Paths};
use cluster::store::etcd::{Credentials, Endpoints, EtcdStore};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node.
pub struct Node {
    root: TempDir,
    name: String,
    ports: [u16; 3],
}

impl Node {
    /// A machine on which nothing was set up.
    pub fn new(name: &str) -> Self {
        Node {
            root: tempfile::tempdir().expect("a temporary directory"),
            name: name.to_owned(),
            ports: free_ports(),
        }
    }

    /// A core.
    pub fn core() -> Self {
        let core = Node::new("core");
        core.set_up(&[]);
        core
    }

    /// Make it a core.
    #[track_caller]
    pub fn set_up(&self, more: &[&str]) {
        let args = self.to_set_up();
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.done(&args);
    }

    /// The arguments that make it a core.
    pub fn to_set_up(&self) -> Vec<String> {
        let (door, store) = (
            self.ports[2].to_string(),
            format!("{},{}", self.ports[0], self.ports[1]),
        );
        let args = [
            "node",
            "setup",
            "core",
            "127.0.0.1",
            "--name",
            &self.name,
            "--port",
            &door,
            "--store-ports",
            &store,
        ];
        args.map(str::to_owned).to_vec()
    }

    /// A node that was let in by a token.
    pub fn attached(name: &str, core: &Node) -> Self {
        let (node, token) = (Node::new(name), core.token());
        node.done_with(
            &token,
            &["node", "attach", "--name", name, "--token-file", "-", "--timeout", "60"],
        );
        node
    }

    /// A token of this core.
    pub fn token(&self) -> String {
        self.done(&["node", "token", "create"])
    }

    /// Where its files are.
    pub fn paths(&self) -> Paths {
        Paths::from_root(Some(self.root.path()))
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// What it knows of itself.
    pub fn file(&self) -> NodeFile {
        NodeFile::load(&self.paths()).expect("a node file")
    }

    /// Where its door is.
    pub fn door(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// Its CA's fingerprint.
    pub fn ca(&self) -> String {
        self.file().cluster.expect("it is of a cluster").ca
    }

    /// The fingerprint of its key.
    pub fn fingerprint(&self) -> String {
        let key = Pki::new(self.paths().pki()).public_key();
        let pem = fs::read_to_string(key).expect("a public key");
        cluster::identity::Fingerprint::of_public_key(&pem)
            .expect("a fingerprint")
            .to_string()
    }

    /// The store of `core`, with this node's own certificate.
    pub fn store(&self, core: &Node) -> EtcdStore {
        let pki = Pki::new(self.paths().pki());
        core.store_as(&pki.node_certificate(), &pki.node_key(), &pki.ca())
    }

    /// The store of this core, with these files.
    pub fn store_as(&self, certificate: &Path, key: &Path, ca: &Path) -> EtcdStore {
        let credentials = Credentials {
            ca: ca.to_path_buf().into(),
            certificate: certificate.to_path_buf().into(),
            key: key.to_path_buf().into(),
        };
        let endpoint = format!("https://127.0.0.1:{}", self.ports[0]);
        EtcdStore::new(Endpoints::Given(vec![endpoint]), Some(credentials))
    }

    /// The command, for a test that runs it in its own way.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kato"));
        command
            .args(args)
            .env("KATO_ROOT", self.root())
            .env("KATO_STORE_PORTS", format!("{},{}", self.ports[0], self.ports[1]))
            .env_remove("KATO_CREDENTIAL")
            .env_remove("KATO_JOIN_TOKEN")
            .current_dir(self.root());
        command
    }

    /// Run kato.
    pub fn kato(&self, args: &[&str]) -> Output {
        self.kato_with("", args)
    }

    /// Run kato with this on its standard input.
    pub fn kato_with(&self, stdin: &str, args: &[&str]) -> Output {
        self.spawn(stdin, args).wait_with_output().expect("kato ends")
    }

    /// Start kato.
    pub fn spawn(&self, stdin: &str, args: &[&str]) -> Child {
        use std::io::Write;
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kato starts");
        // A command that does not read its standard input may be gone by now.
        let _ = child.stdin.take().expect("stdin is piped").write_all(stdin.as_bytes());
        child
    }

    /// Run kato, which must succeed; what it printed.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        self.done_with("", args)
    }

    /// Run kato, which must succeed; what it said beside what it printed.
    #[track_caller]
    pub fn said(&self, args: &[&str]) -> String {
        let output = self.kato(args);
        assert!(output.status.success(), "{args:?}: {}{}", shown(&output), self.logs());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// As [`Node::done`], with a standard input.
    #[track_caller]
    pub fn done_with(&self, stdin: &str, args: &[&str]) -> String {
        let output = self.kato_with(stdin, args);
        assert!(output.status.success(), "{args:?}: {}{}", shown(&output), self.logs());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Run kato, which must fail with this code; what it complained of.
    #[track_caller]
    pub fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.kato(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}{}",
            shown(&output),
            self.logs()
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What kato prints as JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).expect("JSON")
    }

    /// The ends of its logs, for a test that failed.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.paths().log_dir()).into_iter().flatten().flatten() {
            let log = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(15).collect();
            text.push_str(&format!("---- {}\n", entry.path().display()));
            lines.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What was not set up has nothing to stop.
        let _ = self.kato(&["stop"]);
    }
}

fn shown(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{out}\n{err}\n", output.status)
}

/// Wait until this is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn free_ports() -> [u16; 3] {
    // All are held until all are known, so that they differ.
    let held = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}
