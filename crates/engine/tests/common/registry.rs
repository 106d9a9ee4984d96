//! A real image registry on a loopback port, for one test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Program, until};

const PROGRAM: &str = "/usr/bin/docker-registry";
pub const USER: &str = "fence";
/// Its encoding has letters in which the two alphabets of base64 differ.
pub const PASSWORD: &str = "???>>>~~~o?>~";
/// bcrypt of the password.
const HTPASSWD: &str = "$2y$05$EnxkjYAUCPsBQaOCjrRDOOW/kcPUTpvsklsFr/jIMesB8ZNst83Ee";

pub struct Registry {
    pub address: SocketAddr,
    program: Program,
}

impl Registry {
    /// A registry that serves this folder, to everybody or to the one account.
    pub async fn start(folder: &Path, private: bool) -> Registry {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: apt-get install docker-registry"
        );
        let address = free_port();
        let settings = folder.join(format!("{}.yml", address.port()));
        let mut text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: {address} }}\n",
            folder.join("data").display()
        );
        if private {
            let accounts = folder.join("htpasswd");
            std::fs::write(&accounts, format!("{USER}:{HTPASSWD}\n")).unwrap();
            text += &format!(
                "auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
                accounts.display()
            );
        }
        std::fs::write(&settings, text).unwrap();
        let log = std::fs::File::create(folder.join(format!("{}.log", address.port()))).unwrap();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("docker-registry starts");
        let registry = Registry {
            address,
            program: Program(child),
        };
        until("the registry listens", || TcpStream::connect(address).is_ok()).await;
        registry
    }

    /// The name of an image here.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub fn stop(mut self) -> SocketAddr {
        self.program.stop();
        self.address
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
