//! A registry of a core: the files that a setup leaves, without an engine; and Debian's program over them, whose content is
//! written where it looks for it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cluster::files;
use cluster::identity::{Ca, Key, Request, Subject, self_signed};
use registry_bootstrap::accounts::Accounts;
use registry_bootstrap::manifest::{OCI_IMAGE, digest};
use registry_bootstrap::settings::{Places, TOKEN_PATH};
use registry_bootstrap::token::ISSUER;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Node, until};

const PROGRAM: &str = "/usr/bin/docker-registry";

/// Keys and secrets as a setup leaves them, and a registry that is said to be there.
pub fn recorded(core: &Node, location: &str) {
    let places = Places::of(&core.paths());
    fs::create_dir_all(places.settings()).expect("a directory");
    Accounts::load_or_make(&places.secret()).expect("a secret");
    let key = Key::load_or_make(&places.signing_key()).expect("a key");
    let signer = self_signed(&key, "fence-registry").expect("a certificate");
    files::write_atomic(&places.signer(), signer.as_bytes(), 0o600).expect("a file");
    core.done(&["config", "set", "cluster", "registry/location", location]);
}

/// Debian's program, which ends with the test.
pub struct Registry {
    /// Where it answers.
    pub location: String,
    folder: TempDir,
    program: Child,
}

impl Registry {
    /// The registry of this core.
    pub fn of(core: &Node) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: apt-get install docker-registry"
        );
        let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let location = held.local_addr().expect("an address").to_string();
        drop(held);
        recorded(core, &location);
        let places = Places::of(&core.paths());
        certify(core, &places);
        let folder = tempfile::tempdir().expect("a directory");
        // Beside the place of its own settings, where the agent would keep it.
        let settings = folder.path().join("settings.yml");
        fs::write(&settings, text(core, &places, &location, folder.path())).expect("a file");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg(&settings).stdout(Stdio::null()).stderr(log);
        let program = command.spawn().expect("the registry starts");
        until("the registry listens", || TcpStream::connect(&location).is_ok());
        Registry {
            location,
            folder,
            program,
        }
    }

    /// Put an image there for this architecture; the digest of its manifest.
    pub fn image(&self, repository: &str, tag: &str, architecture: &str) -> String {
        let config = json!({"architecture": architecture, "os": "linux"}).to_string();
        let part = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(), "digest": self.blob(&config)});
        let hex = digest(config.as_bytes()).replace("sha256:", "");
        self.link(&format!("{repository}/_layers/sha256/{hex}"), &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": part, "layers": []});
        self.manifest(repository, tag, &manifest.to_string())
    }

    /// Put there what is to be a manifest; its digest.
    pub fn manifest(&self, repository: &str, tag: &str, content: &str) -> String {
        let digest = self.blob(content);
        let hex = digest.replace("sha256:", "");
        for place in [
            format!("revisions/sha256/{hex}"),
            format!("tags/{tag}/current"),
            format!("tags/{tag}/index/sha256/{hex}"),
        ] {
            self.link(&format!("{repository}/_manifests/{place}"), content);
        }
        // By this the registry knows that it is one.
        fs::create_dir_all(self.top().join("repositories").join(repository).join("_layers")).expect("a directory");
        digest
    }

    /// Have other content where that of this digest was.
    pub fn spoil(&self, digest: &str, content: &str) {
        fs::write(self.content(digest), content).expect("a file");
    }

    fn blob(&self, content: &str) -> String {
        let digest = digest(content.as_bytes());
        let path = self.content(&digest);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("a file");
        digest
    }

    fn link(&self, place: &str, content: &str) {
        let directory = self.top().join("repositories").join(place);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("link"), digest(content.as_bytes())).expect("a file");
    }

    fn content(&self, digest: &str) -> PathBuf {
        let hex = digest.replace("sha256:", "");
        self.top().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn top(&self) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The certificate that it shows, and the door to who asks there for tokens by the same name.
fn certify(core: &Node, places: &Places) {
    let key = Key::load_or_make(&places.key()).expect("a key");
    let subject = Subject::Registry {
        host: "127.0.0.1".to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
    };
    let ca = Ca::load(&core.paths().pki()).expect("a CA");
    let request = Request::from_pem(&key.request().expect("a request")).expect("a request");
    let signed = ca.sign(&request, &subject, Duration::from_secs(3600));
    let certificate = signed.expect("a certificate");
    files::write_atomic(&places.certificate(), certificate.as_bytes(), 0o644).expect("a file");
}

fn text(core: &Node, places: &Places, location: &str, folder: &Path) -> String {
    format!(
        "version: 0.1\nlog: {{ level: warn, accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {data} }} }}\n\
         http:\n  addr: {location}\n  secret: x\n  tls: {{ certificate: {certificate}, key: {key} }}\n\
         auth:\n  token:\n    realm: https://{door}{TOKEN_PATH}\n    service: \"{location}\"\n    issuer: {ISSUER}\n    \
         rootcertbundle: {signer}\n",
        data = folder.join("data").display(),
        certificate = places.certificate().display(),
        key = places.key().display(),
        door = core.door(),
        signer = places.signer().display(),
    )
}
