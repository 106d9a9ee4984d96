//! Accounts at the image registry and its tokens, at the door of a real core: who gets which, and who gets none.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cluster::identity::{CORE_NAME, Credential, Key, Pki, tls};
use registry_bootstrap::RegistryAuth;
use registry_bootstrap::trust::{self, For};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::harness::{Node, until};
use crate::registry::recorded;

const SCOPES: &str = "scope=repository:team/app:pull,push,delete&scope=registry:catalog:*";

/// Ask the core's door; the status, and what was said.
fn ask(core: &Node, tls: ClientConfig, request: &str, headers: &str, body: &str) -> (u16, Value) {
    let name = ServerName::try_from(CORE_NAME).expect("a name");
    let client = ClientConnection::new(Arc::new(tls), name).expect("a client");
    let stream = TcpStream::connect(core.door()).expect("the door takes a connection");
    let mut stream = StreamOwned::new(client, stream);
    let head = format!("{request} HTTP/1.1\r\nHost: core\r\nConnection: close\r\n{headers}");
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(whole.as_bytes()).expect("the question is taken");
    let mut said = Vec::new();
    // The end without a farewell is an end.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    let status = said.split(' ').nth(1).and_then(|word| word.parse().ok());
    let (_, body) = said.split_once("\r\n\r\n").unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.unwrap_or_else(|| panic!("no answer: {said}")), body)
}

/// One who shows nothing.
fn nobody(core: &Node) -> ClientConfig {
    let ca = fs::read_to_string(Pki::new(core.paths().pki()).ca()).expect("a CA");
    tls::client(&ca).expect("a CA")
}

/// One who shows this node's certificate.
fn as_node(node: &Node) -> ClientConfig {
    let pki = Pki::new(node.paths().pki());
    let text = |path| fs::read_to_string(path).expect("a file");
    let key = Key::load(&pki.node_key()).expect("a key");
    tls::client_as(&text(pki.ca()), &text(pki.node_certificate()), &key).expect("a certificate")
}

/// A new administrator, by the certificate in the credential.
fn administrator(core: &Node, name: &str) -> Credential {
    let file = format!("{name}.yml");
    core.done(&["admin", "create", name, "-o", &file]);
    Credential::load(&core.root().join(file)).expect("a credential")
}

fn as_administrator(credential: &Credential) -> ClientConfig {
    let key = Key::from_pem(&credential.key).expect("a key");
    tls::client_as(&credential.ca, &credential.certificate, &key).expect("a certificate")
}

fn account(core: &Node, tls: ClientConfig, who: Value) -> (u16, Value) {
    ask(core, tls, "POST /v1/registry/account", "", &who.to_string())
}

/// Ask for a token for everything, by an account as the door gave it out.
fn token(core: &Node, account: &Value) -> (u16, Value) {
    let word = |name: &str| account[name].as_str().expect("a word").to_owned();
    let words = BASE64_STANDARD.encode(format!("{}:{}", word("username"), word("password")));
    let path = format!("GET /v1/registry/token?service=core:5000&{SCOPES}");
    ask(
        core,
        nobody(core),
        &path,
        &format!("Authorization: Basic {words}\r\n"),
        "",
    )
}

/// What a token allows, as `kind:name:actions`.
fn allowed(answer: &Value) -> Vec<String> {
    let claims = answer["token"].as_str().and_then(|token| token.split('.').nth(1));
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    let good_for = claims["exp"].as_i64().expect("an end") - claims["iat"].as_i64().expect("a beginning");
    assert!(good_for + 60 <= 300, "with the registry's minute: {good_for} s");
    let all = claims["access"].as_array().expect("a list").iter();
    all.map(|one| {
        let actions = one["actions"].as_array().expect("a list").iter();
        let actions: Vec<&str> = actions.filter_map(Value::as_str).collect();
        format!("{}:{}:{}", one["type"], one["name"], actions.join(",")).replace('"', "")
    })
    .collect()
}

#[test]
fn an_account_is_for_who_shows_that_ones_certificate_and_while_it_is_in_the_cluster() {
    let core = Node::core();
    let (one, two) = (Node::attached("one", &core), Node::attached("two", &core));
    recorded(&core, "core:5000");
    let alice = administrator(&core, "alice");
    let node = |node: &Node| json!({"node": node.file().id});
    let is_alice = || json!({"administrator": "alice"});

    let (status, given) = account(&core, as_node(&one), node(&one));
    assert_eq!(
        (status, given["location"].as_str()),
        (200, Some("core:5000")),
        "{given}"
    );
    for who in [node(&two), node(&core), is_alice(), json!({"administrator": "nobody"})] {
        assert_eq!(account(&core, as_node(&one), who.clone()).0, 403, "a node is not {who}");
    }
    for who in [node(&one), is_alice()] {
        assert_eq!(
            account(&core, nobody(&core), who.clone()).0,
            403,
            "nothing was shown for {who}"
        );
    }
    assert_eq!(account(&core, as_administrator(&alice), node(&one)).0, 403);

    // A node pulls; pushing, deleting and listing are not among what its token says.
    let (status, answer) = token(&core, &given["account"]);
    assert_eq!(
        (status, allowed(&answer)),
        (200, vec!["repository:team/app:pull".to_owned()])
    );
    let (status, alices) = account(&core, as_administrator(&alice), is_alice());
    assert_eq!(status, 200, "{alices}");
    let (status, answer) = token(&core, &alices["account"]);
    let all = ["repository:team/app:pull,push,delete", "registry:catalog:*"];
    assert_eq!((status, allowed(&answer)), (200, all.map(str::to_owned).to_vec()));
    let mut wrong = alices["account"].clone();
    wrong["password"] = given["account"]["password"].clone();
    assert_eq!(token(&core, &wrong).0, 401);
    wrong["username"] = "root".into();
    assert_eq!(token(&core, &wrong).0, 401);

    // Who is put out has neither account nor tokens any more, with whatever was given out before.
    core.done(&["admin", "revoke", "alice"]);
    assert_eq!(token(&core, &alices["account"]).0, 401);
    assert_eq!(account(&core, as_administrator(&alice), is_alice()).0, 403);
    let (shows, id) = (as_node(&one), node(&one));
    core.done(&["node", "remove", "one"]);
    assert_eq!(account(&core, shows, id).0, 403);
    assert_eq!(token(&core, &given["account"]).0, 401);
}

#[test]
fn accounts_at_other_registries_need_no_registry_of_the_cluster() {
    let core = Node::core();
    let login = ["registry", "login", "other.example:5000", "-u", "robot"];
    core.done_with("word\n", &login);
    let one = Node::attached("one", &core);
    let (status, given) = account(&core, as_node(&one), json!({"node": one.file().id}));
    assert_eq!(status, 200, "{given}");
    let robot = json!({"username": "robot", "password": "word"});
    assert_eq!(
        (&given["others"]["other.example:5000"], &given["location"]),
        (&robot, &Value::Null)
    );
    let alice = administrator(&core, "alice");
    let asked = account(&core, as_administrator(&alice), json!({"administrator": "alice"}));
    assert_eq!(asked.0, 409, "{}", asked.1);

    // Those stay when the cluster has a registry, and has none again.
    let known = |registry: &str| {
        let file = fs::read_to_string(one.paths().docker_accounts()).unwrap_or_default();
        let file: Value = serde_json::from_str(&file).unwrap_or(Value::Null);
        let words = file["auths"][registry]["auth"].as_str().map(str::to_owned)?;
        String::from_utf8(BASE64_STANDARD.decode(words).ok()?).ok()
    };
    until("the node is logged in at the other registry", || {
        known("other.example:5000").as_deref() == Some("robot:word")
    });
    // Of an administrator whose account the core does not know, which does not keep the node's away.
    let odd = RegistryAuth {
        username: "admin-alice".to_owned(),
        password: "odd".to_owned(),
    };
    let odd = BTreeMap::from([("core:5000".to_owned(), odd)]);
    trust::log_in(&one.paths(), For::Administrator, &odd, &[]).expect("it is written");
    recorded(&core, "core:5000");
    let own = |prefix: &str| known("core:5000").is_some_and(|words| words.starts_with(prefix));
    until("the node is logged in at the cluster's", || own("node-"));
    core.done(&["config", "set", "cluster", "registry/location", ""]);
    until("the node is logged out at the cluster's", || {
        known("core:5000").is_none()
    });
    assert_eq!(known("other.example:5000").as_deref(), Some("robot:word"));
    assert!(!one.paths().docker_trust().join("core:5000").exists());
}

#[test]
fn an_account_of_somebody_else_at_the_clusters_registry_stays_unless_it_is_to_go() {
    let core = Node::core();
    let file = core.paths().docker_accounts();
    let text = || fs::read_to_string(&file).unwrap_or_default();
    recorded(&core, "core:5000");
    until("the node is logged in", || {
        trust::account(&core.paths(), "core:5000").is_some_and(|account| account.username.starts_with("node-"))
    });
    // The node's own gives way.
    core.done(&["registry", "login"]);
    let foreign = r#"{"auths": {"core:5000": {"auth": "Ym9iOnB3"}}, "credsStore": "pass"}"#;
    fs::write(&file, foreign).expect("a file");
    let said = core.refused(3, &["registry", "login"]);
    assert!(said.contains("an account of its own at core:5000, as bob"), "{said}");
    assert_eq!(text(), foreign);
    let said = core.said(&["registry", "login", "--force"]);
    assert!(said.contains("credsStore: pass"), "{said}");
    let account = trust::account(&core.paths(), "core:5000").expect("an account");
    assert!(trust::is_administrators(&account), "{}", account.username);
}
